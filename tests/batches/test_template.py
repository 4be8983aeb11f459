from __future__ import annotations

import pytest

from localrun.batches.template import parse_template
from localrun.errors import UsageError


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{a}", "x"),
        ("Say {a} and {b}.", 'Say x and {"c": 1}.'),
        ("{{{a}}}", "{x}"),
        ("{{a}} {a}", "{a} x"),
        ("{ a }", "x"),
    ],
)
def test_fields_are_filled_in(template: str, prompt: str) -> None:
    assert parse_template(template).fill({"a": "x", "b": {"c": 1}}) == prompt


@pytest.mark.parametrize("template", ["", "none", "{", "}", "{}", "a {b", "{a} }", "{{a}}"])
def test_a_template_without_a_field_or_with_a_lone_brace_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="--template"):
        parse_template(template)


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="no field 'b', only a"):
        parse_template("{b}").fill({"a": "x"})
