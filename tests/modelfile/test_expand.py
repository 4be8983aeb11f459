"""INCLUDE and ARG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import UsageError
from localrun.modelfile.expand import MAX_DEPTH, MAX_FILES
from localrun.modelfile.lint import lint
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.problems import ModelfileError, Problem
from localrun.modelfile.source import MAX_BYTES
from tests.measuring import plain_loops
from tests.modelfile.ollama_rules import ollama_reads
from tests.modelfile.reading import recipe, refusal

if TYPE_CHECKING:
    from localrun.modelfile.recipe import Recipe
    from localrun.modelfile.source import Reader


def reader(files: dict[str, str]) -> Reader:
    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path].encode()

    return read


def including(text: str, **files: str) -> Recipe:
    """Read a recipe beside files; ``_`` in a file's name stands for a slash."""
    paths = {name.replace("_", "/"): content for name, content in files.items()}
    return parse_modelfile(text.encode(), "dir/Modelfile", read=reader(paths))


def including_fails(text: str, **files: str) -> Problem:
    with pytest.raises(ModelfileError) as caught:
        including(text, **files)
    return caught.value.problem


def test_an_argument_is_put_into_values() -> None:
    text = """ARG size=7b
ARG tone="very kind"
ARG scale=0.5
FROM qwen3:${size}
SYSTEM \"\"\"Be ${tone}.
${tone}!\"\"\"
PARAMETER num_ctx ${ctx}
ADAPTER ./a ${scale}
ADAPTER "./b 2" ${scale}
MESSAGE user ${size}?
""".replace("PARAMETER num_ctx ${ctx}\n", "ARG ctx=10\nPARAMETER num_ctx ${ctx}\n")

    plain = recipe(text)
    chosen = recipe(text, size="14b", ctx="20")

    assert plain.sources == ("qwen3:7b",)
    assert plain.system == "Be very kind.\nvery kind!"
    assert plain.parameters == (("num_ctx", 10),)
    assert [adapter.scale for adapter in plain.adapters] == [0.5, 0.5]
    assert (chosen.sources, chosen.parameters) == (("qwen3:14b",), (("num_ctx", 20),))
    assert chosen.messages[0].content == "14b?"


@given(st.sampled_from(["${x}", "$${x}", "$x", "${x", "${X}", "${ x }", "a"]))
def test_a_file_without_arg_is_left_as_it_is(value: str) -> None:
    text = f"FROM a\nSYSTEM {value}\n"

    assert recipe(text).system == value
    assert ollama_reads(text) == [("FROM", "", "a"), ("SYSTEM", "", value)]
    assert lint(text.encode()) == []


def test_two_dollars_keep_a_declared_name() -> None:
    assert recipe("ARG x=1\nFROM a\nSYSTEM $${x} ${x} ${y} $x").system == "${x} 1 ${y} $x"


def test_a_value_cannot_bring_an_instruction() -> None:
    read = recipe('ARG x=\nFROM a\nSYSTEM "${x}"', x='"\nSYSTEM evil ${x}')

    assert read.system == '"\nSYSTEM evil ${x}'


def test_a_default_may_use_earlier_arguments() -> None:
    assert recipe("ARG a=x\nARG b=${a}${a}\nFROM ${b}").sources == ("xx",)
    assert recipe("ARG b=${a}\nARG a=x\nFROM ${b}").sources == ("${a}",)


def test_an_argument_counts_from_its_line_on() -> None:
    assert recipe("FROM ${x}\nARG x=1\nFROM ${x}").sources == ("${x}", "1")


def test_the_first_default_counts() -> None:
    assert recipe("ARG x=1\nARG x=2\nARG x\nFROM ${x}").sources == ("1",)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("ARG x\nFROM ${x}", "missing-arg", (1, 5)),
        ("ARG 1x=a\nFROM a", "bad-arg", (1, 5)),
        ("ARG x =a\nFROM a", "bad-arg", (1, 5)),
        ("FROM a", "unknown-arg", (1, 1)),
        ("ARG sise=1\nFROM a", "unknown-arg", (1, 1)),
    ],
)
def test_a_wrong_argument_is_refused(text: str, code: str, place: tuple[int, int]) -> None:
    given = {"size": "1"} if code == "unknown-arg" else {}

    problem = refusal(text, **given)

    assert (problem.code, (problem.line, problem.column)) == (code, place)


def test_hints_of_arguments_say_what_to_type() -> None:
    assert refusal("ARG x\nFROM a").hint == "--arg x=VALUE, or ARG x=default"
    assert refusal("ARG sise=1\nFROM a", size="1").hint == "did you mean sise?"
    assert refusal("FROM a", size="1").hint == "ARG size=default"


def test_an_undeclared_use_is_worth_a_warning_where_there_are_arguments() -> None:
    found = lint(b"ARG name=1\nFROM a\nSYSTEM ${naem} $${b}\nTEMPLATE ${naem}")

    assert [(each.code, each.severity, each.line) for each in found] == [
        ("undeclared-arg", "warning", 3)
    ]


def test_an_included_file_stands_where_it_is_included() -> None:
    read = including(
        "FROM a\nSYSTEM first\nINCLUDE rules\nPARAMETER stop b", rules="SYSTEM x\nPARAMETER stop a"
    )

    assert read.system == "x"
    assert read.parameters == (("stop", "a"), ("stop", "b"))


def test_an_included_file_is_found_beside_the_one_that_includes_it() -> None:
    read = including(
        "INCLUDE a/one", a_one="INCLUDE two\nINCLUDE ../top", a_two="SYSTEM x", top="FROM y"
    )

    assert (read.sources, read.system) == (("y",), "x")


def test_arguments_reach_into_included_files() -> None:
    files = {"base": "ARG size=1b\nARG own=2\nFROM qwen3:${size}\nSYSTEM ${own}"}

    read = including("ARG size=7b\nINCLUDE base\nTEMPLATE ${own}", **files)

    assert (read.sources, read.system, read.template) == (("qwen3:7b",), "2", "2")


def test_a_problem_names_the_included_file() -> None:
    problem = including_fails("FROM a\nINCLUDE sub/x", sub_x="\nPARAMETER nix 1")

    assert problem.where == "dir/sub/x:2:11"


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "..", "C:\\x", "c:x", "\\\\host\\x", "..\\x",
     "a\\..\\..\\x", "./a/./../../dir/x"],
)  # fmt: skip
def test_nothing_outside_the_folder_is_included(path: str) -> None:
    asked: list[str] = []

    def read(target: str) -> bytes:
        asked.append(target)
        return b""

    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(f"FROM a\nINCLUDE {path}".encode(), "dir/Modelfile", read=read)

    assert caught.value.problem.code == "include-outside"
    assert caught.value.hint
    assert asked == []


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "~", "\u2024"])).map("".join))
def test_a_reader_is_asked_only_for_paths_below_the_folder(path: str) -> None:
    def read(target: str) -> bytes:
        assert not target.startswith(("/", "\\"))
        assert ".." not in target.replace("\\", "/").split("/")
        return b"FROM a"

    lint(f"INCLUDE {path}\nINCLUDE a/{path}".encode(), read=read)


@pytest.mark.parametrize("path", ['""', '"a\nb"', '"\x1b[1m"'])
def test_a_path_is_a_line_of_text(path: str) -> None:
    assert including_fails(f"FROM a\nINCLUDE {path}").code == "include-path"


def test_a_cycle_is_named() -> None:
    problem = including_fails("INCLUDE a", a="INCLUDE sub/b", sub_b="INCLUDE ../a")

    assert problem.message == "the file includes itself: a -> sub/b -> a"
    assert problem.where == "dir/sub/b:1:9"


def test_depth_and_number_are_bounded() -> None:
    deep = {f"f{i}": f"INCLUDE f{i + 1}" for i in range(MAX_DEPTH)}

    assert including_fails("INCLUDE f0", **deep).code == "include-depth"
    assert including("INCLUDE f1", **deep, f8="FROM a").sources == ("a",)
    assert including_fails("INCLUDE a\n" * MAX_FILES, a="").code == "include-count"
    assert len(including("INCLUDE a\n" * (MAX_FILES - 1), a="FROM x").sources) == MAX_FILES - 1


def test_the_whole_is_bounded() -> None:
    large = " " * (MAX_BYTES // 2 + 1)

    assert including_fails("INCLUDE a\nINCLUDE a", a=large).code == "too-long"
    assert including_fails("FROM x\nINCLUDE a", a=large * 2).code == "too-long"


def test_arguments_cannot_grow_without_bound() -> None:
    doubling = "".join(f"ARG a{i + 1}=${{a{i}}}${{a{i}}}\n" for i in range(40))
    problems: list[Problem] = []

    cost = plain_loops(lambda: problems.append(refusal(f"ARG a0=xxxxxxxx\n{doubling}FROM a")))

    assert problems[0].code == "too-long"
    assert cost < 100


def test_a_file_that_cannot_be_read_is_named() -> None:
    problem = including_fails("FROM a\nINCLUDE nix")

    assert (problem.code, problem.message) == ("include-missing", "nix: No such file or directory")


def test_a_reader_may_refuse() -> None:
    def read(path: str) -> bytes:
        raise UsageError(f"no {path}", hint="copy it")

    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(b"INCLUDE a", read=read)

    assert (caught.value.problem.message, caught.value.hint) == ("no a", "copy it")


def test_a_recipe_without_a_folder_includes_nothing() -> None:
    assert refusal("FROM a\nINCLUDE b").code == "no-folder"
