"""Typed access to a JSON configuration file: each value is checked when it is read.

``null`` counts as absent, as in the libraries that write these files.
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
    """The values of a file, or of an object in it; ``where`` names it in messages."""

    values: Json
    where: str

    def has(self, key: str) -> bool:
        """Return whether the key has a value."""
        return self.values.get(key) is not None

    def raw(self, key: str) -> Any:  # noqa: ANN401 - JSON of a file
        """Return the unchecked value of a key, or None without it."""
        return self.values.get(key)

    def count(self, key: str, default: int | None = None) -> int:
        """Return a whole number above 0; the key is required without a default."""
        value = self._value(key, default)
        if type(value) is not int or not 0 < value < LARGEST_COUNT:
            raise self.wrong(key, "a whole number above 0")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number; the key is required without a default."""
        value = self._value(key, default)
        if type(value) not in {int, float} or not math.isfinite(value):
            raise self.wrong(key, "a number")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; the key is required without a default."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers; the key is required."""
        value = self._value(key, None)
        if not isinstance(value, list) or not all(
            type(item) in {int, float} and math.isfinite(item) for item in value
        ):
            raise self.wrong(key, "a list of numbers")
        return [float(item) for item in value]

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, empty without the key."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of texts")
        return value

    def inner(self, key: str) -> Config:
        """Return the object under a key, an empty one without it."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Config(value, f"{self.where}: {key}")

    def wrong(self, key: str, expected: str) -> IntegrityError:
        """Return the error for a missing key or a value of another type."""
        if key not in self.values:
            return IntegrityError(f"{self.where} has no {key}, which must be {expected}")
        value = repr(self.values[key])
        excerpt = value if len(value) <= 80 else f"{value[:80]}..."  # noqa: PLR2004 - one line
        return IntegrityError(f"{self.where} has {key} = {excerpt}, which must be {expected}")

    def _value(self, key: str, default: object) -> Any:  # noqa: ANN401 - JSON of a file
        value = self.values.get(key)
        return default if value is None else value


def read_config(folder: Path, name: str) -> Config:
    """Return a JSON file of the folder; empty if the file does not exist.

    Raises:
        IntegrityError: the file is not a readable JSON object.
    """
    path = folders.find(folder, name)
    return Config({} if path is None else folders.read_json(path), str(folder / name))
