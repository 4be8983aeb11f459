"""Text rows: the embeddings of text tokens, for text in the batches of media.

llama.cpp takes tokens or embeddings in a call. The tiles of an image have a few tokens of text
between them, and a question behind them, which are looked up in the file here, so that all of an
image is one batch instead of two a tile. Only for models whose input is the row of the table and
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import IntegrityError
from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.engine.llama.model import Model
    from localrun.gguf.header import GgufTensor

# Families that add nothing to the row and do not scale it, and that projectors with tiles are for.
ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3", "smollm3"})
TABLE = "token_embd.weight"


class TextRows:
    """Rows of a table of token embeddings in a file."""

    def __init__(self, path: Path, tensor: GgufTensor, data_start: int) -> None:
        """Map the table.

        Raises:
            IntegrityError: the file is too short.
            NotImplementedError: nothing decodes the table's type.
        """
        self.width, num_rows = tensor.sizes
        self._kind = tensor.kind
        kind = TENSOR_TYPES[tensor.kind]
        row_bytes = self.width // kind.num_numbers * kind.num_bytes
        try:
            self._table = np.memmap(
                path, np.uint8, "r", data_start + tensor.offset, (num_rows, row_bytes)
            )
        except ValueError as error:
            raise IntegrityError(f"{path.name} ends before the table of tokens") from error
        self.of([0])

    def of(self, tokens: Sequence[int]) -> np.ndarray:
        """Return the rows of tokens, float32 of shape (num_tokens, width)."""
        from gguf import GGMLQuantizationType  # lazy: for images with tiles only
        from gguf.quants import dequantize

        rows = np.ascontiguousarray(self._table[list(tokens)])
        decoded: np.ndarray = dequantize(rows, GGMLQuantizationType(self._kind))
        return decoded.astype(np.float32).reshape(len(tokens), self.width)


def open_text_rows(model: Model, path: Path, width: int) -> TextRows | None:
    """Return the rows of a model whose inputs are ``width`` wide; None if it has no plain ones."""
    architecture = model.metadata("general.architecture")
    is_scaled = model.metadata(f"{architecture}.embedding_scale") != ""
    if architecture not in ARCHITECTURES or is_scaled or not model.memory.is_plain:
        return None
    try:
        header = read_header(path)
        tensor = header.tensors.get(TABLE)
        if tensor is None or tensor.sizes[:1] != (width,):
            return None
        return TextRows(path, tensor, header.data_start)
    except (IntegrityError, NotImplementedError, OSError, KeyError, ValueError):
        return None  # tiles are computed one by one
