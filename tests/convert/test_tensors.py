from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.convert.safetensors import SafetensorsTensor
from localrun.convert.tensors import CHUNK_BYTES, TensorPart, interleaved
from tests.convert.writing import bfloat16

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.convert.tensors import FileType

SMALL = 4096


def test_the_halves_of_each_head_are_interleaved() -> None:
    assert interleaved(12, 2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@pytest.mark.parametrize("kind", ["BF16", "F32", "F16"])
@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_large_tensor_is_made_in_chunks(
    tmp_path: Path, kind: FileType, *, is_ordered: bool
) -> None:
    rows = 5 * CHUNK_BYTES // SMALL // 4 + 1
    with (tmp_path / "a").open("wb") as file:
        file.truncate(rows * SMALL * 2)
    tensor = SafetensorsTensor(
        name="w",
        dtype="BF16",
        shape=(rows, SMALL),
        path=tmp_path / "a",
        start=0,
        end=rows * SMALL * 2,
    )
    order = np.arange(rows)[::-1] if is_ordered else None
    part = TensorPart(name="w", source=tensor, kind=kind, order=order)

    sizes = [chunk.nbytes for chunk in part.chunks()]

    assert sum(sizes) == part.num_bytes
    assert max(sizes) <= CHUNK_BYTES
    assert len(sizes) > 2


def test_values_become_the_nearest_of_the_type() -> None:
    values = np.array([[1.0, 1.001, -3.14159, 1e-30]], np.float32)

    stored = np.concatenate(list(TensorPart(name="w", source=values, kind="BF16").chunks()))

    assert stored.view(np.uint16).tolist() == [
        bfloat16(np.array([1.0, 1.0, -3.140625, 2.0**-100 * 1.265625])).tolist()
    ]
    half = np.concatenate(list(TensorPart(name="w", source=values, kind="F16").chunks()))
    assert half.tolist() == values.astype(np.float16).tolist()


def test_an_offset_is_added_before_rounding() -> None:
    values = np.array([0.25, -1.0], np.float32)

    chunks = list(TensorPart(name="norm", source=values, kind="F32", offset=1.0).chunks())

    assert np.concatenate(chunks).tolist() == [1.25, 0.0]
