"""Models of another tool: names and files, before they are imported.

Values only; the module of each tool reads its folders. A ``digest`` is the other store's claim,
which nothing has verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

FileRole = Literal[
    "weights",
    "projector",
    "adapter",
    "template",
    "license",
    "system",
    "params",
    "messages",
    "draft",
    "other",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFile:
    """File of a model; ``path`` is the real file behind all links."""

    path: Path
    name: str  # displayed name; in a Hugging Face cache, the path within the snapshot
    role: FileRole
    size_bytes: int
    digest: str | None = None  # "sha256:<hex>" claimed by the other store


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """Model of another tool; the weights are first, shards in order."""

    tool: str
    name: str  # the tool's name, such as "llama3.2:3b"
    files: tuple[ForeignFile, ...]
    revision: str | None = None  # the commit of a Hugging Face snapshot
    manifest: Path | None = None  # Ollama's

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(file.size_bytes for file in self.files)
