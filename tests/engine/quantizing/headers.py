"""Headers of models that exist only as names and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.quantizing.types import NUMBERS
from localrun.gguf.header import GgufTensor, Header, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

F16 = 1


def header(
    tensors: Mapping[str, tuple[int, ...]],
    *,
    architecture: str = "llama",
    kinds: dict[str, str] | None = None,
    file_type: int = F16,
    **metadata: Value,
) -> Header:
    """Return a header of tensors in F16, or in the types of ``kinds`` by name."""
    keys = {f"{architecture}.{name}": value for name, value in metadata.items()}
    return Header(
        metadata={
            "general.architecture": architecture,
            "general.file_type": file_type,
            **keys,
        },
        tensors={
            name: GgufTensor(sizes, NUMBERS[(kinds or {}).get(name, "F16")], 0)
            for name, sizes in tensors.items()
        },
        data_start=0,
    )
