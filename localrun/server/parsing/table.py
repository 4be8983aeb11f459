"""Field tables: the members of a request body, one row each, for the parser and the API document.

    STREAM = flag("stream")
    BODY = Table((MODEL, STREAM), component="ShowRequest")

    values = BODY.read(fields)    # checks every member; errors name the member
    values[STREAM]                # bool | None, typed by the row
    BODY.schema()                 # JSON Schema of the body, for /openapi.json

A row has the name, the reader and the schema of one member, so a member that the parser reads is
documented, and with the bounds that the parser checks. Rows are read in the order of the table;
rows of absent members are not read: their value is what the reader returns for an empty body.
Checks that involve several members follow `Table.read` in the function that calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from localrun.server.parsing.fields import LARGEST_INTEGER, Fields, shown
from localrun.server.parsing.json_schema import (
    FLAG,
    OBJECT,
    TEXT,
    Schema,
    bounded,
    either,
    listed,
    one_of,
    ref,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from localrun.runner.messages import JsonObject

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_ORDERS = 256  # remembered: clients send few combinations of members
EMPTY: tuple[object, ...] = (None, "", {}, [], False)  # values by which programs omit a member


@dataclass(frozen=True, slots=True)
class Field(Generic[T_co]):
    """One member of a body; ``read`` gets the body and the member's name."""

    name: str
    read: Callable[[Fields, str], T_co]
    schema: Schema
    is_required: bool = False


AnyField = Field[Any]


class Values:
    """The values of a body that a table has read; ``fields`` is the body, for error messages."""

    __slots__ = ("_by_name", "fields")

    def __init__(self, by_name: JsonObject, fields: Fields) -> None:
        self._by_name = by_name
        self.fields = fields

    def __getitem__(self, field: Field[T]) -> T:
        """Return the value of a row of the table."""
        value: T = self._by_name[field.name]
        return value

    def given(self, rows: Iterable[Field[T | None]]) -> dict[str, T]:
        """Return the values of some rows by their names, without those that are None."""
        values = self._by_name
        return {row.name: value for row in rows if (value := values[row.name]) is not None}


class Table:
    """The rows of a body; ``component`` is the name of its schema in the API document."""

    def __init__(self, rows: Iterable[AnyField], *, component: str | None = None) -> None:
        self.rows = tuple(rows)
        self.component = component
        self._by_name = {row.name: row for row in self.rows}
        if len(self._by_name) < len(self.rows):
            raise ValueError(f"a name is twice in the table: {[row.name for row in self.rows]}")
        self._required = {row.name for row in self.rows if row.is_required}
        nothing = Fields({})
        self._absent = {
            row.name: row.read(nothing, row.name) for row in self.rows if not row.is_required
        }
        self._orders: dict[frozenset[str], tuple[AnyField, ...]] = {}  # by the members of a body

    def read(self, fields: Fields) -> Values:
        """Return the values of a body.

        Raises:
            UsageError: a member is wrong, or a required one is absent; the error names it.
        """
        members = frozenset(fields.names & self._by_name.keys())
        rows = self._orders.get(members)
        if rows is None:
            rows = self._rows_for(members)
        values = self._absent.copy()
        for row in rows:
            name = row.name
            values[name] = row.read(fields, name)
        return Values(values, fields)

    def schema(self) -> Schema:
        """Return the JSON Schema of the body."""
        return request(
            {row.name: row.schema for row in self.rows if row.is_required},
            {row.name: row.schema for row in self.rows if not row.is_required},
        )

    def reference(self) -> Schema:
        """Return the schema, as a reference if the table is a component."""
        return self.schema() if self.component is None else ref(self.component)

    def _rows_for(self, members: frozenset[str]) -> tuple[AnyField, ...]:
        """Return the rows that are read for a body with these members, and remember them."""
        names = members | self._required
        rows = tuple(row for row in self.rows if row.name in names)
        if len(self._orders) < MAX_ORDERS:  # any thread may add one: both are the same
            self._orders[members] = rows
        return rows


def text(name: str, *, longest: int | None = None) -> Field[str | None]:
    """Return the row of a string of at most ``longest`` characters."""
    return Field(name, lambda fields, name: fields.text(name, longest=longest), TEXT)


def required_text(name: str, *, longest: int | None = None) -> Field[str]:
    """Return the row of a string that must not be empty."""
    return Field(
        name,
        lambda fields, name: fields.required_text(name, longest=longest),
        {"type": "string", "minLength": 1},
        is_required=True,
    )


def flag(name: str) -> Field[bool | None]:
    """Return the row of a boolean."""
    return Field(name, Fields.boolean, FLAG)


def integer(name: str, low: int | None = None, high: int | None = None) -> Field[int | None]:
    """Return the row of an integer from ``low`` to ``high``."""
    least = -LARGEST_INTEGER if low is None else low

    def read(fields: Fields, name: str) -> int | None:
        value = fields.integer(name, least)
        if value is not None and high is not None and value > high:
            raise fields.wrong(name, f"must be at most {high}")
        return value

    return Field(name, read, bounded({"type": "integer"}, low, high))


def number(name: str, low: float, high: float) -> Field[float | None]:
    """Return the row of a number between ``low`` and ``high``."""
    return Field(
        name,
        lambda fields, name: fields.number(name, low, high),
        bounded({"type": "number"}, low, high),
    )


def choice(name: str, choices: Collection[str]) -> Field[str | None]:
    """Return the row of one of several words."""

    def read(fields: Fields, name: str) -> str | None:
        value = fields.text(name)
        if value is not None and value not in choices:
            raise fields.wrong(name, f"must be one of {', '.join(choices)}")
        return value

    return Field(name, read, one_of(*choices))


def strings(
    name: str, *, most: int | None = None, longest: int | None = None
) -> Field[tuple[str, ...]]:
    """Return the row of a string or a list of at most ``most`` strings."""
    bounds = {} if most is None else {"maxItems": most}
    return Field(
        name,
        lambda fields, name: fields.strings(name, most=most, longest=longest),
        either(TEXT, listed(TEXT, **bounds)),
    )


def objects(name: str, *, most: int | None = None) -> Field[list[JsonObject]]:
    """Return the row of a list of at most ``most`` objects."""
    return Field(name, lambda fields, name: fields.objects(name, most=most), listed(OBJECT))


def group(name: str, table: Table) -> Field[Values]:
    """Return the row of an object with a table of its own."""
    return Field(name, lambda fields, name: table.read(fields.inner(name)), table.reference())


def raw(name: str, schema: Schema) -> Field[Any]:
    """Return the row of a value that is checked together with other members."""
    return Field(name, Fields.raw, schema)


def documented(name: str, schema: Schema) -> Field[None]:
    """Return the row of a member without a value of its own.

    Another row reads it, or it is accepted and has no effect.
    """
    return Field(name, lambda fields, name: None, schema)  # noqa: ARG005 - the signature of a reader


def neutral(name: str, allowed: tuple[object, ...] = ()) -> Field[None]:
    """Return the row of an unsupported member whose ``allowed`` values change nothing."""

    def read(fields: Fields, name: str) -> None:
        value = fields.raw(name)
        if value is not None and value not in allowed:
            raise fields.wrong(name, f"is not supported with the value {shown(value)}")

    return Field(name, read, _only(allowed))


def unsupported(name: str) -> Field[None]:
    """Return the row of a member that must be empty."""

    def read(fields: Fields, name: str) -> None:
        if fields.raw(name) not in EMPTY:
            raise fields.wrong(name, "is not supported")

    return Field(name, read, _only(EMPTY[1:]))


def _only(values: tuple[object, ...]) -> Schema:
    """Return the schema of some JSON values; of none, the schema of null."""
    schemas: list[Schema] = [{"const": value} for value in values]
    if len(schemas) == 1:
        return schemas[0]
    return either(*schemas) if schemas else {"type": "null"}
