"""Job of the quantizer's child process, which travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeJob:
    """Arguments of one run."""

    source: str
    output: str
    file_type: int
    threads: int
    allows_quantized: bool
    is_pure: bool
    output_type: str | None
    embedding_type: str | None
    types: dict[str, str]  # of single tensors by name
    imatrix: str | None
    imatrix_sizes: Mapping[str, Sequence[int]]  # of the tensors that the matrix is for
