"""What another tool keeps: a model's name there, and the files that it is made of.

Values only; the folders are read by the module of each tool. A ``digest`` is what
the other store claims, and nobody has verified it.
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
    """One file of a model; ``path`` is the real file, behind all links."""

    path: Path
    name: str  # to show; for the Hugging Face cache the path within the snapshot
    role: FileRole
    size_bytes: int
    digest: str | None = None  # "sha256:<hex>" as the other store claims it


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """One model of another tool; the weights come first, shards in their order."""

    tool: str
    name: str  # as the tool calls it, such as "llama3.2:3b"
    files: tuple[ForeignFile, ...]
    revision: str | None = None  # the commit of a Hugging Face snapshot
    manifest: Path | None = None  # Ollama's

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(file.size_bytes for file in self.files)
