"""Tell by its header what a GGUF file is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import Header

GgufRole = Literal["weights", "projector", "adapter"]


def gguf_role(path: Path) -> GgufRole:
    """Return what the file is for.

    Raises:
        IntegrityError: not a GGUF file that we can read.
        OSError: the file cannot be opened.
    """
    return role_of(read_header(path))


def role_of(header: Header) -> GgufRole:
    """Return what a file is: a projector for images, an adapter, or else a model's weights."""
    kind = header.text("general.type")
    if header.architecture == "clip" or kind == "mmproj":
        return "projector"
    return "adapter" if kind == "adapter" else "weights"
