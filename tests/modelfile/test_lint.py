"""All problems at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import UsageError
from localrun.modelfile.lint import MAX_PROBLEMS, LintFinding, Use, lint
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.source import MAX_BYTES
from tests.measuring import LINEAR, growth
from tests.modelfile.profile import NUM_EXAMPLES, long_enough, many_examples

Row = tuple[int, int, str, str]


def rows(text: str, **files: str) -> list[Row]:
    found = lint(text.encode(), read=lambda path: files[path].encode())
    return [(each.line, each.column, each.severity, each.code) for each in found]


def test_a_good_file_has_none() -> None:
    assert rows("FROM a\nPARAMETER stop a\nPARAMETER stop b\nADAPTER a\nADAPTER b\nLICENSE a") == []


def test_all_are_told_in_order() -> None:
    text = """PARAMETER temprature 1
PARAMETER num_ctx many
SYSTM x
SYSTEM a
PARAMETER top_p 2
system b
MESSAGE tool x
ADAPTER "a" b
REQUIRES latest
PARAMETER low_vram true
PARAMETER seed 1
PARAMETER seed 2
PARAMETER numa true
SYSTEM \"\"\"c
"""

    assert rows(text) == [
        (1, 1, "error", "missing-from"),
        (1, 11, "error", "unknown-parameter"),
        (2, 19, "error", "wrong-type"),
        (3, 1, "error", "unknown-instruction"),
        (5, 17, "error", "out-of-range"),
        (6, 1, "warning", "repeated"),
        (7, 9, "error", "bad-role"),
        (8, 13, "error", "bad-scale"),
        (9, 10, "error", "bad-version"),
        (10, 11, "warning", "deprecated"),
        (12, 1, "warning", "repeated"),
        (13, 11, "error", "removed-parameter"),
        (14, 8, "error", "unclosed"),
    ]


@pytest.mark.parametrize("keyword", ["TEMPLATE", "SYSTEM", "RENDERER", "PARSER", "DRAFT"])
def test_what_counts_once_is_told_where_it_stands_again(keyword: str) -> None:
    (problem,) = lint(f"FROM a\n{keyword} a\n{keyword} b".encode())

    assert (problem.line, problem.message) == (
        3,
        f"{keyword} is repeated: only the last one counts",
    )


def test_a_file_may_override_what_it_includes() -> None:
    assert rows("INCLUDE base\nSYSTEM b", base="FROM a\nSYSTEM a") == []
    assert rows("INCLUDE base\nINCLUDE base", base="FROM a\nSYSTEM a") == []


def test_a_problem_of_a_file_that_is_included_twice_is_told_once() -> None:
    assert rows("FROM a\nINCLUDE x\nINCLUDE x", x="PARAMETER nix 1") == [
        (1, 11, "error", "unknown-parameter")
    ]


def test_the_top_file_comes_first() -> None:
    found = lint(b"INCLUDE A\nINCLUDE b\nnix", "Modelfile", read=lambda _: b"oops")

    assert [each.file for each in found] == ["Modelfile", "Modelfile", "A", "b"]


def test_more_of_a_kind_than_a_model_can_have_is_told_once() -> None:
    text = "FROM a\n" + "PARAMETER stop a\n" * 1000

    assert rows(text) == [(66, 1, "error", "too-many")]


def test_more_uses_of_declared_names_than_are_sensible_are_refused() -> None:
    text = "FROM a\nARG a=b\nSYSTEM " + "${a}" * 200_000

    assert [row[3] for row in rows(text)] == ["too-long"]


def test_lines_end_as_they_do_elsewhere() -> None:
    assert rows("FROM a\r\nX 1\rX 2\nX 3")[-1][:2] == (4, 1)


def test_text_that_is_not_utf8_is_worth_a_warning() -> None:
    (problem,) = lint(b"FROM a\nLICENSE \xa9 me")

    assert (problem.code, problem.severity, problem.line, problem.column) == (
        "not-utf8",
        "warning",
        2,
        9,
    )


def test_checks_of_the_caller_get_values_and_give_places() -> None:
    uses: list[Use] = []

    def check(use: Use) -> LintFinding | None:
        uses.append(use)
        if use.keyword != "ADAPTER":
            return None
        return LintFinding(
            code="other-architecture", message=f"{use.value} is for llama", hint="train"
        )

    (problem,) = lint(b'FROM a\nFROM b\nADAPTER "x" 0.5\n', checks=[check])

    assert [(use.keyword, use.value) for use in uses] == [
        ("FROM", "a"),
        ("FROM", "b"),
        ("ADAPTER", "x"),
    ]
    assert uses[0].sources == ("a", "b")
    assert (problem.where, problem.code) == ("Modelfile:3:10", "other-architecture")
    assert (problem.message, problem.hint, problem.text) == (
        "x is for llama",
        "train",
        'ADAPTER "x" 0.5',
    )


def test_a_check_may_warn() -> None:
    finding = LintFinding(code="large", message="large", severity="warning")

    (problem,) = lint(b"FROM a", checks=[lambda _: finding])

    assert problem.severity == "warning"


lines = st.sampled_from(
    ["FROM a", "SYSTEM x", 'SYSTEM "', "PARAMETER top_p 1", "PARAMETER top_p 2", "ADAPTER a 0.1",
     'ADAPTER "a" x', "REQUIRES x", "MESSAGE user x", "MESSAGE x x", "ARG x", "ARG y=1",
     "INCLUDE x", "nix"],
)  # fmt: skip


@given(st.lists(lines, max_size=6).map("\n".join))
@many_examples
@long_enough
def test_a_file_is_refused_exactly_where_there_is_an_error(text: str) -> None:
    errors = [each for each in lint(text.encode()) if each.severity == "error"]

    try:
        parse_modelfile(text.encode())
    except UsageError:
        assert errors
    else:
        assert not errors


MANY = 10_000  # examples that ask for the largest file, too
HOSTILE = [
    "#\n", "\n", " ", "\u200b", '"', '""" ', 'SYSTEM "x\n', 'SYSTEM """x"" \n', "SYSTEM<<A\n",
    "FROM x\n", "x y\n", 'x "y\n', "FROM", "A", '" \u3000', "PARAMETER x y\n", "ADAPTER a 11111\n",
    "1", "1 ", "ARG a=${a}\n", "${a}", "INCLUDE x\n", "REQUIRES 1.1-1\n", "\r", "SYSTEM a\n", "\0",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@long_enough
def test_the_time_for_a_file_grows_with_its_size(piece: str) -> None:
    heads = [
        "",
        'SYSTEM """',
        "SYSTEM ",
        "ADAPTER a ",
        "PARAMETER seed ",
        "REQUIRES ",
        "ARG a=1\nFROM ",
    ]
    size = (MAX_BYTES if NUM_EXAMPLES >= MANY else MAX_BYTES // 128) - 20
    for head in heads:
        counts: list[int] = []

        def read(size: int, head: str = head, counts: list[int] = counts) -> None:
            counts.append(len(lint((head + piece * (size // len(piece.encode()))).encode())))

        assert growth(read, size) < LINEAR
        assert max(counts) <= MAX_PROBLEMS
