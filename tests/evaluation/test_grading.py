"""Answers and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from localrun.evaluation import grading
from localrun.evaluation.grading import grade, last_number
from localrun.evaluation.tasks import parse_task

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 1}},
    "required": ["age"],
}


def why(answer: str, **target: Any) -> str | None:
    return grade(parse_task({"prompt": "x", **target}, 1), answer)


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("Paris", {"exact": "paris"}),
        (" Paris.\n", {"exact": ["Rome", "Paris"]}),
        ("<think>Rome?</think>Paris", {"exact": "Paris"}),
        ("It is Paris, in France.", {"contains": ["paris", "FRANCE"]}),
        ("call 555-1234 now", {"regex": r"\d{3}-\d{4}"}),
        ("so 3 + 4 = 7.", {"number": 7}),
        ("about 3.14", {"number": 3.1, "tolerance": 0.05}),
        ("1,234", {"number": 1234}),
        ("-5", {"number": -5}),
        ('{"age": 7}', {"schema": PERSON}),
    ],
)
def test_a_right_answer_passes(answer: str, target: dict[str, Any]) -> None:
    assert why(answer, **target) is None


@pytest.mark.parametrize(
    ("answer", "target", "reason"),
    [
        ("Rome", {"exact": "Paris"}, "not the expected"),
        ("It is Paris", {"exact": "Paris"}, "not the expected"),
        ("Paris", {"contains": ["Paris", "France"]}, "'France'"),
        ("<think>Paris</think>Rome", {"contains": "Paris"}, "'Paris'"),
        ("none", {"regex": r"\d"}, "pattern"),
        ("none", {"number": 1}, "no number"),
        ("7 and 8", {"number": 7}, "8, not 7"),
        ("no", {"schema": PERSON}, "not JSON"),
        ('{"age": 0}', {"schema": PERSON}, "does not fit"),
        ('{"age": 1}', {"schema": {"$ref": "http://127.0.0.1:9/x"}}, "cannot be used"),
        ('{"age": 1}', {"schema": {"type": 3}}, "cannot be used"),
    ],
)
def test_a_wrong_answer_has_a_reason(answer: str, target: dict[str, Any], reason: str) -> None:
    assert reason in (why(answer, **target) or "")


def test_a_schema_whose_pattern_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "REGEX_S", 0.05)
    answer = '"' + "a" * 40 + '!"'

    assert "takes more than" in (why(answer, schema={"pattern": "^(a+)+$"}) or "")


def test_a_pattern_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "REGEX_S", 0.05)

    assert "takes more than" in (why("a" * 40 + "!", regex="(a+)+$") or "")


@pytest.mark.parametrize(
    ("text", "number"),
    [("", None), ("a1b22", 22.0), ("1e3", 1000.0), ("1,23", 23.0), ("9" * 1000, float("inf"))],
)
def test_the_last_number(text: str, number: float | None) -> None:
    found = last_number(text)

    assert found == number or (found is not None and found > 1e100)
