"""Tensor data of GGUF files: the sizes of ggml's types, and the check for truncated files.

ggml stores elements in blocks: a block of Q4_0 has 32 elements in 18 bytes. A row consists of
whole blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.gguf.header import GgufTensor, Header


@dataclass(frozen=True, slots=True)
class TensorType:
    """A type of tensor elements, with the elements and bytes of a block."""

    name: str
    num_numbers: int
    num_bytes: int


# by ggml's number; the gaps are types that ggml removed
TENSOR_TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 36),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
}


def read_whole(path: Path) -> Header:
    """Read a file's header and check that the file has the data of all tensors.

    Raises:
        IntegrityError: not a readable GGUF file, or a truncated one.
        OSError: the file cannot be opened.
    """
    header = read_header(path)
    try:
        check_data(header, path.stat().st_size)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from error
    return header


def tensor_bytes(tensor: GgufTensor) -> int | None:
    """Return the bytes of a tensor, or None if its type is not in `TENSOR_TYPES`."""
    kind = TENSOR_TYPES.get(tensor.kind)
    return None if kind is None else tensor.num_elements // kind.num_numbers * kind.num_bytes


def check_data(header: Header, file_bytes: int) -> None:
    """Check that a file of ``file_bytes`` has all bytes of every tensor.

    Raises:
        IntegrityError: the file is truncated, or a row is not a whole number of blocks.
    """
    for name, tensor in header.tensors.items():
        kind = TENSOR_TYPES.get(tensor.kind)
        if kind is not None and tensor.sizes and tensor.sizes[0] % kind.num_numbers:
            raise IntegrityError(
                f"tensor {name} has rows of {tensor.sizes[0]}, which {kind.name} cannot store"
            )
        end = header.data_start + tensor.offset + (tensor_bytes(tensor) or 0)
        if end > file_bytes:
            raise IntegrityError(
                f"the file is cut off: tensor {name} ends at byte {end}, the file at {file_bytes}",
                hint="get it again from where it came",
            )
