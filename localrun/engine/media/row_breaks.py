"""Breaks between the rows of Pixtral's images, all of which have the same embedding.

llama.cpp clears their memory by a product with 0, which leaves a NaN that was there as it is: now
and then such a row would spoil the answer. The projector's file has the embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from localrun.gguf.data import TENSOR_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import Header

TENSOR = "v.token_embd.img_break"  # llama.cpp's name
BF16_SHIFT = 16


def read_row_break(path: Path, header: Header) -> np.ndarray | None:
    """Return the embedding of a break, float32 of shape (width,), or None if there are none.

    Raises:
        OSError: the file cannot be read.
    """
    tensor = header.tensors.get(TENSOR)
    kind = TENSOR_TYPES.get(tensor.kind) if tensor is not None else None
    if tensor is None or kind is None or kind.name not in {"F32", "F16", "BF16"}:
        return None
    with path.open("rb") as file:
        file.seek(header.data_start + tensor.offset)
        data = file.read(tensor.num_elements * kind.num_bytes)
    if kind.name == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << BF16_SHIFT).view(np.float32)
    return np.frombuffer(data, f"<f{kind.num_bytes}").astype(np.float32)


def restore_row_breaks(embeddings: np.ndarray, row_break: np.ndarray | None) -> None:
    """Set the rows of ``embeddings``, shape (num_tokens, width), that are not numbers, in place."""
    if row_break is not None and row_break.shape == embeddings.shape[1:]:
        embeddings[~np.isfinite(embeddings).all(axis=1)] = row_break
