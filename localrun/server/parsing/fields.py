"""Typed, bounded readers of the fields of an untrusted JSON object.

Every error names the field. An absent field and a null field have no value. Unknown fields pass,
because real clients send many that no document lists.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError
from localrun.server.parsing.json_parser import is_larger, parse_json

if TYPE_CHECKING:
    from collections.abc import KeysView, Sized

    from localrun.runner.messages import JsonObject


LARGEST_INTEGER = 2**63 - 1
MAX_SHOWN = 80  # characters of a value in a message
MAX_PATH = 200


class Fields:
    """One object of a request; ``path`` is its place in the body."""

    def __init__(self, body: JsonObject, path: str = "") -> None:
        self._body = body
        self._path = path

    def raw(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the unchecked value, or None if the field is absent."""
        return self._body.get(name)

    @property
    def names(self) -> KeysView[str]:
        """Return the names of all members, null ones too."""
        return self._body.keys()

    def but(self, **changed: Any) -> Fields:  # noqa: ANN401 - any JSON values
        """Return a copy with other values for some names."""
        return Fields({**self._body, **changed}, self._path)

    def all(self) -> JsonObject:
        """Return all values, unchecked."""
        return dict(self._body)

    def text(self, name: str, *, longest: int | None = None) -> str | None:
        """Return a string of at most ``longest`` characters."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        if value is not None and longest is not None and len(value) > longest:
            raise self.wrong(name, f"has more than {longest} characters")
        return value

    def boolean(self, name: str) -> bool | None:
        """Return a boolean."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number between ``low`` and ``high``."""
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "must be a number")
        if not low <= value <= high:  # refuses NaN too
            has_top = value > high or high < LARGEST_INTEGER
            bounds = f"between {low:g} and {high:g}" if has_top else f"at least {low:g}"
            raise self.wrong(name, f"must be {bounds}")
        return value

    def integer(
        self, name: str, low: int = -LARGEST_INTEGER, high: int = LARGEST_INTEGER
    ) -> int | None:
        """Return an integer from ``low`` to ``high``; 3.0 is accepted as 3."""
        value = self.number(name, low, high)
        if value is None:
            return None
        if value != int(value):
            raise self.wrong(name, "must be a whole number")
        return int(value)

    def strings(
        self, name: str, *, most: int | None = None, longest: int | None = None
    ) -> tuple[str, ...]:
        """Return at most ``most`` strings of at most ``longest`` characters.

        A string in place of a list is a list of one.
        """
        value = self._body.get(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.wrong(name, "must be a string or a list of strings")
        self._check_length(name, items, most)
        if longest is not None and any(len(item) > longest for item in items):
            raise self.wrong(name, f"has an entry of more than {longest} characters")
        return tuple(items)

    def objects(self, name: str, *, most: int | None = None) -> list[JsonObject]:
        """Return a list of at most ``most`` objects."""
        value = self._body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "must be a list of objects")
        self._check_length(name, value, most)
        return value

    def inner(self, name: str) -> Fields:
        """Return the fields of a nested object; an absent object is empty."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Fields(value or {}, f"{self._path}{name}.")

    def required_text(self, name: str, *, longest: int | None = None) -> str:
        """Return a string that must be present and not empty."""
        value = self.text(name, longest=longest)
        if not value:
            raise self.wrong(name, "is required")
        return value

    def path(self, name: str) -> str:
        """Return the place of a field in the body."""
        return self._path + name

    def wrong(self, name: str, problem: str) -> UsageError:
        """Return the error for a field, such as "messages is required"."""
        path = self.path(name)[:MAX_PATH]
        return UsageError(f"{path} {problem}", param=path)

    def _check_length(self, name: str, items: Sized, most: int | None) -> None:
        if most is not None and len(items) > most:
            raise self.wrong(name, f"has more than {most} entries")


def parse_object(body: bytes) -> Fields:
    """Return the fields of a body that is a JSON object, regardless of its content type.

    Raises:
        UsageError: the body is not an object, or `parse_json` refuses it.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise UsageError("the body must be a JSON object")
    return Fields(value)


def shown(value: object) -> str:
    """Return a value of a request for an error message: printable and short."""
    if not isinstance(value, str):
        return type(value).__name__ if is_larger(value, MAX_SHOWN) else json.dumps(value)
    return repr(value[:MAX_SHOWN]) + ("..." if len(value) > MAX_SHOWN else "")


def brief(word: str | None) -> str:
    """Return a word of a request, such as a type, for an error message."""
    return str(word)[:MAX_SHOWN]
