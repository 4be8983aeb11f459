"""Problems as a person sees them."""

from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.modelfile.problems import ModelfileError, problem_at, render_problem, shown
from localrun.modelfile.source import SourceText
from tests.modelfile.reading import recipe, refusal


def excerpt(text: str, offset: int) -> list[str]:
    problem = problem_at(
        SourceText(name="Modelfile", text=text).position(offset), "code", "message"
    )
    return render_problem(problem).splitlines()[1:]


def test_a_problem_shows_its_place_line_and_hint() -> None:
    assert render_problem(refusal("FROM a\nPARAMETER temprature 0.7\n")) == (
        "Modelfile:2:11: error: unknown parameter: temprature [unknown-parameter]\n"
        "    PARAMETER temprature 0.7\n"
        "              ^\n"
        "hint: did you mean temperature?"
    )


def test_the_error_says_it_too() -> None:
    with pytest.raises(ModelfileError) as caught:
        recipe("FROM a\nFRM b")

    assert isinstance(caught.value, UsageError)
    assert caught.value.message == ("Modelfile:2:1: not an instruction: FRM\n    FRM b\n    ^")
    assert caught.value.hint == "did you mean FROM?"


def test_what_has_no_line_shows_none() -> None:
    assert render_problem(refusal("")) == (
        "Modelfile:1:1: error: there is no FROM [missing-from]\nhint: the first line: FROM guide"
    )


def test_the_caret_stands_under_wide_and_joined_characters() -> None:
    assert excerpt("\t世界e\u0301 x", 6) == ["     世界e\u0301 x", "           ^"]


def test_a_long_line_is_cut_around_the_place() -> None:
    line, caret = excerpt("a" * 500 + "X" + "b" * 500, 500)

    assert line == "    " + "a" * 60 + "X" + "b" * 39
    assert caret == " " * 64 + "^"


def test_a_place_past_the_end_of_the_line_is_shown() -> None:
    assert excerpt("FROM", 4) == ["    FROM", "        ^"]


def test_nothing_of_a_file_steers_a_terminal() -> None:
    problem = refusal('FROM a\nSYSTEM "\x1b[31m\x9b')

    assert "\x1b" not in render_problem(problem)
    assert shown("a\x1b\nb") == "a\ufffd\ufffdb"


def test_long_values_are_cut() -> None:
    assert shown("x" * 41) == "x" * 40 + "..."
    assert shown("x" * 40) == "x" * 40
