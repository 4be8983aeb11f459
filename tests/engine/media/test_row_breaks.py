"""Breaks between the rows of an image that llama.cpp has computed from memory with a NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from localrun.engine.media.row_breaks import TENSOR, read_row_break, restore_row_breaks
from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

BREAK = np.array([0.5, -2.0, 8.0, 1.0], dtype=np.float32)  # exact in all types


def written(path: Path, name: str, kind: gguf.GGMLQuantizationType) -> Path:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_tensor("v.other", np.ones(4, dtype=np.float32))
    writer.add_tensor(name, gguf.quants.quantize(BREAK, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_the_break_is_that_of_the_file(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "p.gguf", TENSOR, gguf.GGMLQuantizationType[kind])

    found = read_row_break(path, read_header(path))

    assert found is not None
    assert found.dtype == np.float32
    assert found.tolist() == BREAK.tolist()


def test_other_projectors_have_no_break(tmp_path: Path) -> None:
    path = written(tmp_path / "p.gguf", "v.another", gguf.GGMLQuantizationType.F32)

    assert read_row_break(path, read_header(path)) is None


def test_rows_that_are_no_numbers_become_the_break() -> None:
    embeddings = np.arange(12, dtype=np.float32).reshape(3, 4)
    embeddings[1, 2] = np.nan

    restore_row_breaks(embeddings, BREAK)

    assert embeddings.tolist() == [[0, 1, 2, 3], BREAK.tolist(), [8, 9, 10, 11]]


def test_without_a_break_embeddings_stay_as_they_are() -> None:
    embeddings = np.array([[np.nan, 1.0]], dtype=np.float32)

    restore_row_breaks(embeddings, None)

    assert np.isnan(embeddings[0, 0])
