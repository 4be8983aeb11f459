"""Failures that are remembered by a name, in a JSON file.

    {"format_version": 1, "failures": {"cuda": {"library": "3f2a...", "reason": "..."}}}

Losing the file costs one more failure, so it is written without a lock, and an unreadable one
counts as empty.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Generic, TypeVar

from localrun.disk import remove_abandoned, temporary_beside
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from _typeshed import DataclassInstance

FailureT = TypeVar("FailureT", bound="DataclassInstance")

FORMAT_VERSION = 1


class FailureFile(Generic[FailureT]):
    """The failures in a file, each a dataclass of ``kind`` whose fields are JSON values."""

    def __init__(self, path: Path, kind: type[FailureT]) -> None:
        self._path = path
        self._kind = kind

    def read(self) -> dict[str, FailureT]:
        """Return the failures by name."""
        try:
            content = json.loads(self._path.read_bytes())
            if content["format_version"] != FORMAT_VERSION:
                return {}
            return {
                str(name): self._kind(**failure) for name, failure in content["failures"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def write(self, failures: Mapping[str, FailureT]) -> None:
        """Replace the file; on a disk that cannot be written it stays as it was."""
        content = {
            "format_version": FORMAT_VERSION,
            "failures": {name: asdict(failure) for name, failure in failures.items()},
        }
        with contextlib.suppress(OSError):
            make_private_folder(self._path.parent)
            remove_abandoned(self._path)
            temporary = temporary_beside(self._path)
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True))
            temporary.replace(self._path)
