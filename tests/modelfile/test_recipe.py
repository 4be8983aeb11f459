"""What a recipe means."""

from __future__ import annotations

import pytest

from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from tests.modelfile.reading import recipe, refusal


def test_a_whole_file() -> None:
    text = """
# a comment
FROM ./weights.gguf
from ./mmproj.gguf
ADAPTER ./a.gguf
ADAPTER ./b.gguf 0.5
DRAFT ./draft.gguf
SYSTEM first
system \"\"\"You are
kind.\"\"\"
TEMPLATE {{ .Prompt }}
PARAMETER stop a
PARAMETER temperature 0.5
PARAMETER top_k 20
PARAMETER stop "b "
PARAMETER temperature 0.7
MESSAGE user Hi: you
MESSAGE assistant "Hello!"
LICENSE MIT
LICENSE Apache
RENDERER qwen3
PARSER qwen3
REQUIRES v0.14.0
"""

    assert recipe(text) == Recipe(
        sources=("./weights.gguf", "./mmproj.gguf"),
        adapters=(AdapterUse(path="./a.gguf"), AdapterUse(path="./b.gguf", scale=0.5)),
        draft="./draft.gguf",
        system="You are\nkind.",
        template="{{ .Prompt }}",
        parameters=(("stop", "a"), ("temperature", 0.7), ("top_k", 20), ("stop", "b ")),
        messages=(
            RecipeMessage(role="user", content="Hi: you"),
            RecipeMessage(role="assistant", content="Hello!"),
        ),
        licenses=("MIT", "Apache"),
        renderer="qwen3",
        parser="qwen3",
        requires="0.14.0",
    )


def test_from_alone_is_enough() -> None:
    assert recipe("FROM guide") == Recipe(sources=("guide",))


def test_an_empty_system_is_not_an_absent_one() -> None:
    assert recipe('FROM a\nSYSTEM ""').system == ""
    assert recipe("FROM a").system is None


@pytest.mark.parametrize(
    ("written", "path", "scale"),
    [
        ("./a b.gguf", "./a b.gguf", 1.0),
        ("./a b.gguf 0.8", "./a b.gguf", 0.8),
        ("./a\t-1e-1 ", "./a", -0.1),
        ('"./a 2"', "./a 2", 1.0),
        ('"./a 2" 3', "./a 2", 3.0),
        ("2", "2", 1.0),
        ("./a nan", "./a nan", 1.0),
        ("./a\u30002", "./a\u30002", 1.0),
    ],
)
def test_a_number_behind_a_path_is_its_scale(written: str, path: str, scale: float) -> None:
    assert recipe(f"FROM a\nADAPTER {written}").adapters == (AdapterUse(path=path, scale=scale),)


@pytest.mark.parametrize(
    ("written", "column"),
    [('ADAPTER "a" x', 13), ("ADAPTER a 1e999", 9), ('ADAPTER "a" ' + "1" * 1000, 13)],
)
def test_a_scale_is_a_number(written: str, column: int) -> None:
    problem = refusal(f"FROM a\n{written}")

    assert (problem.code, problem.line, problem.column) == ("bad-scale", 2, column)


@pytest.mark.parametrize("version", ["1", "1.2", "v0.14.0", "1.2.3-rc.1+b.01", "0.1.2-a--b"])
def test_versions_are_those_of_go(version: str) -> None:
    assert recipe(f"FROM a\nREQUIRES {version}").requires == version.removeprefix("v")


@pytest.mark.parametrize(
    "version", ["latest", "01", "1.2.3.4", "1.2-rc", "1.2.3-01", '""', "1" * 10**6]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    problem = refusal(f"FROM a\nREQUIRES {version}")

    assert (problem.code, problem.line) == ("bad-version", 2)


def test_deprecated_parameters_are_checked_and_left_out() -> None:
    assert recipe("FROM a\nPARAMETER low_vram true").parameters == ()
    assert refusal("FROM a\nPARAMETER low_vram soon").code == "wrong-type"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PARAMETER nix 1", (2, 11, "unknown-parameter")),
        ("PARAMETER tfs_z 1", (2, 11, "removed-parameter")),
        ('PARAMETER num_ctx "x"', (2, 20, "wrong-type")),
        ("PARAMETER top_p 2", (2, 17, "out-of-range")),
    ],
)
def test_a_wrong_parameter_stands_where_it_is(line: str, expected: tuple[int, int, str]) -> None:
    problem = refusal(f"FROM a\n{line}")

    assert (problem.line, problem.column, problem.code) == expected


def test_the_first_problem_is_told() -> None:
    assert refusal("FROM a\nPARAMETER nix 1\nPARAMETER top_p 2").code == "unknown-parameter"
    assert refusal("SYSTEM x").code == "missing-from"
