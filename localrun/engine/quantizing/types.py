"""Quantization types: of files, as llama.cpp's ``llama_ftype``, and of single tensors.

A file type is a mixture: most tensors get its tensor type, some a larger one. This module does not
import llama.cpp, so that a help page may show the table.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.gguf.data import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_NAME = 32  # of a type, in a search for the nearest


@dataclass(frozen=True, slots=True)
class Quantization:
    """A type of quantized weights; ``bits_per_weight`` is measured for Llama 3 8B."""

    name: str
    file_type: int
    bits_per_weight: float
    needs_imatrix: bool = False
    note: str = ""

    @property
    def tensor_type(self) -> str:
        """Return the type of most tensors of such a file."""
        name = self.name.removesuffix("_MOE")
        if name in MIXTURES:
            return MIXTURES[name]
        return name if name in WRITABLE else name.rpartition("_")[0]

    @property
    def is_quantized(self) -> bool:
        """Return whether the type has blocks; F32, F16 and BF16 have single numbers."""
        return self.tensor_type not in FULL


TERNARY = "for models trained with ternary weights"
BINARY = "for models trained with one or two bits"
EXPERTS = "the experts only; for mixtures of experts"
# Measured with llama_model_quantize's dry run on a file of Llama 3 8B's shape, output.weight
# included. NVFP4 is not a target of that function. Sorted by size, which a test checks.
QUANTIZATIONS = (
    Quantization("F32", 0, 32.0),
    Quantization("F16", 1, 16.0),
    Quantization("BF16", 32, 16.0),
    Quantization("Q8_0", 7, 8.5),
    Quantization("MXFP4_MOE", 38, 8.5, note=EXPERTS),
    Quantization("Q6_K", 18, 6.56),
    Quantization("Q5_1", 9, 6.04),
    Quantization("Q5_K_M", 17, 5.7),
    Quantization("Q5_0", 8, 5.57),
    Quantization("Q5_K_S", 16, 5.57),
    Quantization("Q4_1", 3, 5.1),
    Quantization("Q4_K_M", 15, 4.89),
    Quantization("IQ4_NL", 25, 4.68),
    Quantization("Q4_K_S", 14, 4.67),
    Quantization("Q4_0", 2, 4.64),
    Quantization("IQ4_XS", 30, 4.46),
    Quantization("Q3_K_L", 13, 4.3),
    Quantization("Q3_K_M", 12, 4.0),
    Quantization("IQ3_M", 27, 3.76),
    Quantization("IQ3_S", 26, 3.66),
    Quantization("Q3_K_S", 11, 3.64),
    Quantization("IQ3_XS", 22, 3.5, needs_imatrix=True),
    Quantization("IQ3_XXS", 23, 3.37, needs_imatrix=True),
    Quantization("Q2_K", 10, 3.16),
    Quantization("Q2_K_S", 21, 2.97, needs_imatrix=True),
    Quantization("IQ2_M", 29, 2.93, needs_imatrix=True),
    Quantization("IQ2_S", 28, 2.74, needs_imatrix=True),
    Quantization("Q2_0", 41, 2.68, note=BINARY),
    Quantization("IQ2_XS", 20, 2.59, needs_imatrix=True),
    Quantization("TQ2_0", 37, 2.52, note=TERNARY),
    Quantization("IQ2_XXS", 19, 2.38, needs_imatrix=True),
    Quantization("TQ1_0", 36, 2.19, note=TERNARY),
    Quantization("IQ1_M", 31, 2.15, needs_imatrix=True),
    Quantization("IQ1_S", 24, 2.0, needs_imatrix=True),
    Quantization("Q1_0", 40, 1.48, note=BINARY),
)


ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama.cpp's own
FULL = frozenset({"F32", "F16", "BF16"})
# types in between, by the type of most of their tensors
MIXTURES = {"IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S"}
UNWRITABLE = frozenset({"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"})  # not for weights
WRITABLE = tuple(kind.name for kind in TENSOR_TYPES.values() if kind.name not in UNWRITABLE)
# llama.cpp aborts or writes noise without the importance of each column
NEED_IMATRIX = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})
NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}  # ggml's, by name
BITS = {kind.name: 8 * kind.num_bytes / kind.num_numbers for kind in TENSOR_TYPES.values()}
BLOCKS = {kind.name: kind.num_numbers for kind in TENSOR_TYPES.values()}


def quantization(name: str) -> Quantization:
    """Find a type of files by its name, in any case.

    Raises:
        UsageError: no type has this name.
    """
    wanted = ALIASES.get(name.upper(), name.upper())
    for kind in QUANTIZATIONS:
        if kind.name == wanted:
            return kind
    names = [kind.name for kind in QUANTIZATIONS]
    raise UsageError(f"{name} is not a quantization{_near(wanted, names)}", hint=_one_of(names))


def tensor_type(name: str) -> str:
    """Find a type of tensors by its name, in any case.

    Raises:
        UsageError: no type that llama.cpp writes has this name.
    """
    wanted = name.upper()
    if wanted in WRITABLE:
        return wanted
    mixtures = {kind.name for kind in QUANTIZATIONS} - set(WRITABLE)
    reason = ": it is a mixture of types" if wanted in mixtures else _near(wanted, WRITABLE)
    raise UsageError(f"{name} is not a type of tensors{reason}", hint=_one_of(WRITABLE))


def _near(name: str, names: Sequence[str]) -> str:
    """Return a question for the nearest name, as the end of a message."""
    near = difflib.get_close_matches(name[:LONGEST_NAME], names, n=1)
    return f"; {near[0]} is the nearest" if near else ""


def _one_of(names: Sequence[str]) -> str:
    return f"one of: {' '.join(names)}"
