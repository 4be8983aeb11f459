"""A JSON file of numbers and names, read key by key with its types checked.

``null`` counts as absent, as it does in the libraries that write these files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.convert import folder as folders
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.convert.folder import Json

LARGEST_COUNT = 1 << 31


@dataclass(frozen=True, slots=True)
class Config:
    """The values of a file, or of an object inside it."""

    values: Json
    where: str

    def has(self, key: str) -> bool:
        """Return whether the key has a value."""
        return self.values.get(key) is not None

    def raw(self, key: str) -> Any:  # noqa: ANN401 - JSON of a file
        """Return whatever the key has, None without it."""
        return self.values.get(key)

    def count(self, key: str, default: int | None = None) -> int:
        """Return a whole number above 0; without a default the key must be there."""
        found = self._value(key, default)
        if type(found) is not int or not 0 < found < LARGEST_COUNT:
            raise self.wrong(key, "a whole number above 0")
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number; without a default the key must be there."""
        found = self._value(key, default)
        if type(found) not in {int, float} or not math.isfinite(found):
            raise self.wrong(key, "a number")
        return float(found)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default the key must be there."""
        found = self._value(key, default)
        if not isinstance(found, str):
            raise self.wrong(key, "a text")
        return found

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a truth value."""
        found = self._value(key, default)
        if not isinstance(found, bool):
            raise self.wrong(key, "true or false")
        return found

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers, which must be there."""
        found = self._value(key, None)
        if not isinstance(found, list) or not all(
            type(item) in {int, float} and math.isfinite(item) for item in found
        ):
            raise self.wrong(key, "a list of numbers")
        return [float(item) for item in found]

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, empty without the key."""
        found = self._value(key, [])
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.wrong(key, "a list of texts")
        return found

    def inner(self, key: str) -> Config:
        """Return the object under a key, an empty one without it."""
        found = self._value(key, {})
        if not isinstance(found, dict):
            raise self.wrong(key, "an object")
        return Config(found, f"{self.where}: {key}")

    def wrong(self, key: str, expected: str) -> IntegrityError:
        """Return the error of a key that is missing or has another type."""
        if key not in self.values:
            return IntegrityError(f"{self.where} has no {key}, which must be {expected}")
        found = repr(self.values[key])
        shown = found if len(found) <= 80 else f"{found[:80]}..."  # noqa: PLR2004 - one line
        return IntegrityError(f"{self.where} has {key} = {shown}, which must be {expected}")

    def _value(self, key: str, default: object) -> Any:  # noqa: ANN401 - JSON of a file
        found = self.values.get(key)
        return default if found is None else found


def read_config(folder: Path, name: str) -> Config:
    """Return a JSON file of the folder, empty where there is none.

    Raises:
        IntegrityError: it is there and is not a readable JSON object.
    """
    path = folders.find(folder, name)
    return Config({} if path is None else folders.read_json(path), str(folder / name))
