"""Role of a GGUF file by its header: weights (of an encoder or not), projector or adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import Header

GgufRole = Literal["weights", "projector", "adapter"]
ENCODERS = {
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
    "jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5encoder",
}  # fmt: skip


def gguf_role(path: Path) -> GgufRole:
    """Return the role of a file.

    Raises:
        IntegrityError: the file is not a readable GGUF file.
        OSError: the file cannot be opened.
    """
    return role_of(read_header(path))


def role_of(header: Header) -> GgufRole:
    """Return the role of a file: projector for images, adapter, or else weights."""
    kind = header.text("general.type")
    if header.architecture == "clip" or kind == "mmproj":
        return "projector"
    return "adapter" if kind == "adapter" else "weights"


def only_embeds(architecture: str, pooling: object) -> bool:
    """Return whether a model embeds and does not generate.

    ``pooling`` is ``<architecture>.pooling_type`` of its file.
    """
    return architecture in ENCODERS or (isinstance(pooling, int) and pooling > 0)
