"""Build what other tools keep, and see that reading it changes nothing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, TypeVar

from tests.gguf import builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Result = TypeVar("Result")

WEIGHTS = builder.header([builder.pair("general.architecture", builder.STRING, "llama")])
PROJECTOR = builder.header([builder.pair("general.architecture", builder.STRING, "clip")])
ADAPTER = builder.header(
    [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair("general.type", builder.STRING, "adapter"),
    ]
)


def write(path: Path, content: bytes | str = WEIGHTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_json(path: Path, content: object) -> Path:
    return write(path, json.dumps(content))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def without_change(root: Path, find: Callable[[], Result]) -> Result:
    """Return what ``find`` finds; all below the root must stay as it was."""
    before = _state(root)
    found = find()
    assert _state(root) == before
    return found


def _state(root: Path) -> dict[str, tuple[int, ...]]:
    state: dict[str, tuple[int, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        state[str(path)] = (
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_mode,
            status.st_nlink,
            status.st_size,
            status.st_ino,
        )
    return state
