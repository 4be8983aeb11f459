"""Read the fields of an untrusted JSON object: typed, bounded, named in every error.

A field that is absent or null has no value. Fields that nobody asks for pass:
real clients send many that no document lists.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from localrun.errors import UsageError

JsonObject = dict[str, Any]

LARGEST_INTEGER = 2**63 - 1
DEEPEST = 100  # lists and objects in each other; what works on them later may be recursive
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character, unless the other half follows


class Fields:
    """One object of a request; ``path`` is where it stands in the body."""

    def __init__(self, body: JsonObject, path: str = "") -> None:
        self._body = body
        self._path = path

    def raw(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value as it came, None where there is none."""
        return self._body.get(name)

    def but(self, **changed: Any) -> Fields:  # noqa: ANN401 - any JSON values
        """Return the same with other values for some names."""
        return Fields({**self._body, **changed}, self._path)

    def all(self) -> JsonObject:
        """Return all values as they came."""
        return dict(self._body)

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        return value

    def boolean(self, name: str) -> bool | None:
        """Return a truth value."""
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
            raise self.wrong(name, f"must be between {low:g} and {high:g}")
        return value

    def integer(self, name: str, low: int = -LARGEST_INTEGER) -> int | None:
        """Return a whole number from ``low`` to what 64 bits hold; 3.0 is one."""
        value = self.number(name, low, LARGEST_INTEGER)
        if value is None:
            return None
        if value != int(value):
            raise self.wrong(name, "must be a whole number")
        return int(value)

    def strings(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; a single text is a list of one."""
        value = self._body.get(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.wrong(name, "must be a string or a list of strings")
        return tuple(items)

    def objects(self, name: str) -> list[JsonObject]:
        """Return a list of objects."""
        value = self._body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "must be a list of objects")
        return value

    def inner(self, name: str) -> Fields:
        """Return the fields of an object inside; one that is absent has none."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Fields(value or {}, f"{self._path}{name}.")

    def required_text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.text(name)
        if not value:
            raise self.wrong(name, "is required")
        return value

    def path(self, name: str) -> str:
        """Return where a field stands in the body."""
        return self._path + name

    def wrong(self, name: str, what: str) -> UsageError:
        """Return the error that names a field."""
        return UsageError(f"{self.path(name)} {what}", param=self.path(name))


def parse_object(body: bytes) -> Fields:
    """Read a body as one JSON object, whatever its content type says.

    Raises:
        UsageError: it is none, or holds text that is not Unicode, numbers that JSON lacks, or
            a name twice: which of the values counts, another reader may see otherwise.
    """
    value = _decoded(body)
    if not isinstance(value, dict):
        raise UsageError("the body must be a JSON object")
    if body.count(b"{") + body.count(b"[") > DEEPEST and _is_deeper(value, DEEPEST):
        raise _too_deep()
    return Fields(value)


def _decoded(body: bytes) -> object:
    try:
        value: object = _decoder.decode(body.decode("utf-8-sig"))  # Windows writes a mark
        if SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the body is not UTF-8: see its byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise UsageError("the body is not Unicode: half of a surrogate pair is in it") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"the body is not JSON: {error}") from error
    except ValueError as error:  # Python's own limit, against slow conversions
        raise UsageError("the body has a number of too many digits") from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Return an object of its names and values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = max(counts, key=counts.__getitem__)
        raise UsageError(f"the body has {twice[:100]!r} twice in one object")
    return found


def _no_number(text: str) -> float:
    raise UsageError(f"the body is not JSON, which has no {text}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UsageError(f"the body has a number that is too large: {text[:40]}")
    return number


def _too_deep() -> UsageError:
    return UsageError(f"the body has more than {DEEPEST} lists and objects in each other")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
)


def _is_deeper(value: JsonObject, most: int) -> bool:
    """Tell whether more than ``most`` lists and objects are in each other."""
    level: list[Any] = [value]
    for _ in range(most):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True
