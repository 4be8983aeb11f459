"""Field tables: values in the order of the rows, errors that name the member, and the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import UsageError
from localrun.server.anthropic.request import COUNT, MESSAGES
from localrun.server.llamacpp.tokens import ROOT_TOKENIZE
from localrun.server.ollama.call import CHAT as OLLAMA_CHAT
from localrun.server.ollama.call import GENERATE
from localrun.server.openai.chat_request import CHAT
from localrun.server.openai.completion_request import COMPLETION
from localrun.server.openai.responses.request import RESPONSE
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.table import (
    Field,
    Table,
    choice,
    documented,
    flag,
    group,
    integer,
    neutral,
    number,
    objects,
    raw,
    required_text,
    strings,
    text,
    unsupported,
)
from tests.server.json_schema import problems

if TYPE_CHECKING:
    from localrun.server.parsing.table import AnyField

INNER = group("inner", Table((integer("count", 0),)))
ROWS: tuple[AnyField, ...] = (
    required_text("model", longest=9),
    text("title", longest=3),
    flag("on"),
    integer("size", 1, 5),
    number("heat", 0, 2),
    choice("kind", ("a", "b")),
    strings("stop", most=2, longest=3),
    objects("tools", most=1),
    INNER,
    raw("any", {}),
    neutral("lora", ([],)),
    unsupported("lazy"),
)
ENDPOINTS = (CHAT, COMPLETION, RESPONSE, MESSAGES, COUNT, OLLAMA_CHAT, GENERATE, ROOT_TOKENIZE)


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        ({"model": ""}, "model is required"),
        ({"model": "x" * 10}, "model has more than 9 characters"),
        ({"title": "long"}, "title has more than 3 characters"),
        ({"title": 1}, "title must be a string"),
        ({"on": 1}, "on must be true or false"),
        ({"size": 0}, "size must be at least 1"),
        ({"size": 6}, "size must be at most 5"),
        ({"size": 1.5}, "size must be a whole number"),
        ({"heat": 3}, "heat must be between 0 and 2"),
        ({"kind": "c"}, "kind must be one of a, b"),
        ({"stop": ["a", "b", "c"]}, "stop has more than 2 entries"),
        ({"tools": [1]}, "tools must be a list of objects"),
        ({"inner": 1}, "inner must be an object"),
        ({"inner": {"count": -1}}, "inner.count must be at least 0"),
        ({"lora": [1]}, "lora is not supported with the value"),
        ({"lazy": True}, "lazy is not supported"),
    ],
)
def test_a_wrong_member_is_named_and_is_wrong_by_the_schema_too(
    member: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}"):
        Table(ROWS).read(Fields({"model": "m", **member}))


def test_values_are_typed_by_their_rows_and_absent_members_have_the_readers_default() -> None:
    table = Table(ROWS)

    values = table.read(Fields({"model": "m", "size": 3.0, "on": None, "unknown": 1}))

    assert values[integer("size")] == 3
    assert values[flag("on")] is None
    assert values[strings("stop")] == ()
    assert values[INNER][integer("count")] is None
    assert values.given((text("title"), text("model"))) == {"model": "m"}


def test_the_first_wrong_row_of_the_table_is_reported() -> None:
    with pytest.raises(UsageError, match=r"^on must"):
        Table(ROWS).read(Fields({"lazy": 1, "size": 9, "on": 1, "model": "m"}))


def test_a_row_of_another_table_has_no_value() -> None:
    with pytest.raises(KeyError):
        Table((flag("on"),)).read(Fields({}))[flag("off")]


def test_a_name_stands_in_a_table_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Table((flag("on"), text("on")))


def test_the_schema_has_the_bounds_that_the_reader_checks() -> None:
    schema = Table(ROWS).schema()

    assert schema["required"] == ["model"]
    right = {"model": "m", "size": 5, "kind": "a", "lora": None, "inner": {"count": 0}}
    assert problems({}, schema, right) == []
    for wrong in ({"on": 1}, {"size": 0}, {"kind": "c"}, {"inner": {"count": -1}}, {"title": 1}):
        assert problems({}, schema, {"model": "m", **wrong}) != []


def test_a_documented_row_accepts_anything() -> None:
    row: Field[None] = documented("user", {"type": "string"})

    assert Table((row,)).read(Fields({"user": 3}))[row] is None


@pytest.mark.parametrize("table", ENDPOINTS)
def test_every_optional_member_of_an_endpoint_may_be_null(table: Table) -> None:
    required = {row.name for row in table.rows if row.is_required}
    body = {row.name: None for row in table.rows if not row.is_required}

    for name, value in body.items():
        row = next(row for row in table.rows if row.name == name)
        absent, null = row.read(Fields({}), name), row.read(Fields({name: value}), name)
        assert repr(absent) == repr(null) or hasattr(absent, "fields")
    assert required.isdisjoint(body)
