"""SHA256SUMS of a folder, in the format of sha256sum: `sha256sum --check SHA256SUMS`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "SHA256SUMS"


def write_sums(folder: Path) -> Path:
    """Write the digests of all files in the folder; return the file."""
    lines = [
        f"{_digest(path)}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != NAME
    ]
    (folder / NAME).write_text("".join(lines))
    return folder / NAME


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
