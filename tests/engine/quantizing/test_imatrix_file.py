"""Files of importance matrices."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.quantizing.imatrix_file import fitting_entries, read_index
from localrun.engine.quantizing.imatrix_values import importance, read_sums, write_imatrix
from localrun.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

SUMS = {
    "blk.0.attn_q.weight": (np.array([[2.0, 4.0, 8.0]]), np.array([2])),
    "blk.0.ffn_up_exps.weight": (np.array([[3.0, 6.0], [0.0, 0.0]]), np.array([3, 0])),
}


def written(path: Path) -> Path:
    write_imatrix(path, SUMS, num_chunks=5, chunk_size=512, datasets=["text.txt"])
    return path


def older(entries: dict[str, tuple[int, list[float]]], end: bytes = b"") -> bytes:
    data = struct.pack("<I", len(entries))
    for name, (num_calls, values) in entries.items():
        data += struct.pack("<I", len(name)) + name.encode()
        data += struct.pack(f"<II{len(values)}f", num_calls, len(values), *values)
    return data + end


def test_what_is_written_is_read(tmp_path: Path) -> None:
    index = read_index(written(tmp_path / "imatrix.gguf"))

    assert (index.num_chunks, index.chunk_size, index.datasets) == (5, 512, ("text.txt",))
    with index.path.open("rb") as file:
        for name, (values, counts) in SUMS.items():
            read_values, read_counts = read_sums(file, index.entries[name])
            np.testing.assert_array_equal(read_values, values)
            np.testing.assert_array_equal(read_counts, counts)
    assert list(tmp_path.iterdir()) == [index.path]


def test_importance_is_the_mean_square_and_1_for_experts_without_inputs(tmp_path: Path) -> None:
    index = read_index(written(tmp_path / "imatrix.gguf"))

    with index.path.open("rb") as file:
        means = {name: importance(file, entry).tolist() for name, entry in index.entries.items()}

    assert means == {
        "blk.0.attn_q.weight": [1.0, 2.0, 4.0],
        "blk.0.ffn_up_exps.weight": [1.0, 2.0, 1.0, 1.0],
    }


def test_the_older_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    end = struct.pack("<II", 7, 4) + b"text"
    path.write_bytes(older({"blk.0.attn_q.weight": (4, [2.0, 4.0])}, end))

    index = read_index(path)

    assert (index.num_chunks, index.datasets) == (7, ("text",))
    with path.open("rb") as file:
        assert importance(file, index.entries["blk.0.attn_q.weight"]).tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends too early"),
        (b"not an importance matrix", "neither GGUF nor a number"),
        (older({"a": (1, [1.0])})[:-2], "cut off"),
        (struct.pack("<II", 1, 10**6) + b"x" * 10, "no importance matrix"),
        (struct.pack("<I", 2) + older({"a": (1, [1.0])})[4:], "ends too early"),
    ],
)
def test_a_damaged_file_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "imatrix").write_bytes(content)

    with pytest.raises(IntegrityError, match=reason):
        read_index(tmp_path / "imatrix")


def test_a_truncated_or_other_gguf_file_is_refused(tmp_path: Path, guide_path: Path) -> None:
    path = written(tmp_path / "imatrix.gguf")
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(IntegrityError, match="cut off"):
        read_index(path)
    with pytest.raises(IntegrityError, match="a GGUF file of another kind"):
        read_index(guide_path)
    with pytest.raises(NotFoundError, match="cannot be read"):
        read_index(tmp_path / "absent")


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_values_that_are_no_mean_squares_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "imatrix.gguf"
    sums = {"a": (np.array([[1.0, value]]), np.array([1]))}
    write_imatrix(path, sums, num_chunks=1, chunk_size=8, datasets=[])
    index = read_index(path)

    with path.open("rb") as file, pytest.raises(ValueError, match="negative or not a number"):
        importance(file, index.entries["a"])


def test_a_matrix_of_another_model_is_refused(tmp_path: Path) -> None:
    index = read_index(written(tmp_path / "imatrix.gguf"))
    fitting = {"blk.0.attn_q.weight": (3, 7), "blk.0.ffn_up_exps.weight": (2, 9, 2), "x": (1, 1)}

    assert set(fitting_entries(index, fitting)) == set(SUMS)
    with pytest.raises(IntegrityError, match="has 4 columns here, 3 there"):
        list(fitting_entries(index, {"blk.0.attn_q.weight": (4, 7)}))
    with pytest.raises(IntegrityError, match="none of its 2 tensors"):
        list(fitting_entries(index, {"blk.0.attn_k.weight": (4, 7)}))
