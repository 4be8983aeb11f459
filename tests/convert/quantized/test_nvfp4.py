"""Matrices in NVFP4, of ModelOpt and of LLM Compressor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from localrun.convert.model import convert_folder
from localrun.errors import IntegrityError, UsageError
from tests.convert.oracle.checkpoints import write_checkpoint
from tests.convert.quantized.matrices import CONFIG, NAME, model, nvfp4_values, tensor_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.convert.writing import Array


def nvfp4(rows: int, columns: int) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        f"{NAME}.weight": rng.integers(0, 256, (rows, columns // 2)).astype(np.uint8),
        f"{NAME}.weight_scale": rng.integers(40, 72, (rows, columns // 16)).astype(np.uint8),
        f"{NAME}.weight_scale_2": np.array(0.03, np.float32),
        f"{NAME}.input_scale": np.array(0.5, np.float32),
    }


def test_the_blocks_of_modelopt_keep_their_values(tmp_path: Path) -> None:
    stored = nvfp4(96, 64)
    folder = write_checkpoint(tmp_path / "model", CONFIG, model(stored), exact=True)

    convert_folder(folder, tmp_path / "made.gguf")

    matrix, scale = (tensor_of(tmp_path / "made.gguf", f"blk.0.ffn_up.{end}") for end in
                     ("weight", "scale"))  # fmt: skip
    expected = nvfp4_values(*(stored[f"{NAME}.{end}"] for end in
                           ("weight", "weight_scale", "weight_scale_2")))  # fmt: skip
    found = gguf.quants.dequantize(matrix.data, matrix.tensor_type) * scale.data
    assert matrix.tensor_type is gguf.GGMLQuantizationType.NVFP4
    assert np.allclose(found, expected, rtol=1e-6)


def test_the_names_of_llm_compressor_give_the_same_file(tmp_path: Path) -> None:
    stored = nvfp4(96, 64)
    renamed = {
        f"{NAME}.weight_packed": stored[f"{NAME}.weight"],
        f"{NAME}.weight_scale": stored[f"{NAME}.weight_scale"],
        f"{NAME}.weight_global_scale": np.array([1 / np.float32(0.03)], np.float32),
        f"{NAME}.input_global_scale": np.array([2.0], np.float32),
    }
    for name, tensors in (("one", stored), ("other", renamed)):
        folder = write_checkpoint(tmp_path / name, CONFIG, model(tensors), exact=True)
        convert_folder(folder, tmp_path / f"{name}.gguf")

    for end in ("weight", "input_scale"):
        one, other = (tensor_of(tmp_path / f"{name}.gguf", f"blk.0.ffn_up.{end}").data
                      for name in ("one", "other"))  # fmt: skip
        assert np.array_equal(one, other)
    scale = tensor_of(tmp_path / "other.gguf", "blk.0.ffn_up.scale").data
    assert scale == pytest.approx([0.03])


def test_scales_of_another_shape_are_damage(tmp_path: Path) -> None:
    stored = nvfp4(96, 64)
    stored[f"{NAME}.weight_scale"] = stored[f"{NAME}.weight_scale"][:, :2]
    folder = write_checkpoint(tmp_path / "model", CONFIG, model(stored), exact=True)

    with pytest.raises(IntegrityError, match="do not fit together"):
        convert_folder(folder, tmp_path / "made.gguf")


def test_rows_that_are_no_multiple_of_a_block_are_refused(tmp_path: Path) -> None:
    stored = nvfp4(96, 48)
    folder = write_checkpoint(tmp_path / "model", CONFIG, model(stored), exact=True)

    with pytest.raises(UsageError, match="no multiple of 64"):
        convert_folder(folder, tmp_path / "made.gguf")
