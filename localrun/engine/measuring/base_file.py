"""File of a base's log-probabilities, in the format of llama.cpp's ``llama-perplexity``.

    "_logits_"  i32 chunk size  i32 vocabulary  i32 chunks  i32 tokens of all chunks
    of each chunk: the rows of its scored positions, packed (see `divergence.packed`)

The tokens make sure that both models read the same: models of another vocabulary are refused.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from localrun.engine.measuring.divergence import packed_width
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"_logits_"
HEAD = struct.Struct("<8siii")
U16_BYTES = 2


def scored_positions(chunk_size: int) -> range:
    """Return the positions of a chunk whose predictions are scored: its second half."""
    return range(chunk_size // 2, chunk_size - 1)


def file_bytes(num_vocab: int, num_chunks: int, chunk_size: int) -> int:
    """Return the size of a file."""
    num_rows = num_chunks * len(scored_positions(chunk_size))
    return HEAD.size + 4 * num_chunks * chunk_size + num_rows * packed_width(num_vocab) * U16_BYTES


def write_head(file: BinaryIO, chunks: np.ndarray, num_vocab: int) -> None:
    """Write what precedes the rows."""
    num_chunks, chunk_size = chunks.shape
    file.write(HEAD.pack(MAGIC, chunk_size, num_vocab, num_chunks))
    file.write(np.ascontiguousarray(chunks, "<i4").tobytes())


def check_head(file: BinaryIO, chunks: np.ndarray, num_vocab: int, path: Path) -> None:
    """Read what precedes the rows, and compare it with what a model reads.

    Raises:
        IntegrityError: it is no such file.
        UsageError: the base has another vocabulary or has read other tokens.
    """
    data = file.read(HEAD.size)
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise IntegrityError(f"{path} has no log-probabilities")
    _, chunk_size, base_vocab, num_chunks = HEAD.unpack(data)
    tokens = np.frombuffer(file.read(4 * chunks.size), "<i4")
    is_same = (num_chunks, chunk_size) == chunks.shape and base_vocab == num_vocab
    if not is_same or not np.array_equal(tokens, chunks.ravel()):
        raise UsageError(
            "the models read the text as different tokens, so that they cannot be compared",
            hint="compare quantizations of one model",
        )


def write_rows(file: BinaryIO, rows: np.ndarray) -> None:
    """Write packed rows."""
    file.write(rows.data)


def read_rows(file: BinaryIO, num_rows: int, num_vocab: int) -> np.ndarray:
    """Return packed rows.

    Raises:
        IntegrityError: the file ends before them.
    """
    width = packed_width(num_vocab)
    data = file.read(num_rows * width * U16_BYTES)
    if len(data) < num_rows * width * U16_BYTES:
        raise IntegrityError("the file of log-probabilities is cut off")
    return np.frombuffer(data, np.uint16).reshape(num_rows, width)
