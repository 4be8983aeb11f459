"""Matrices in FP8 with scales of every form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.convert.model import convert_folder
from localrun.errors import IntegrityError
from tests.convert.oracle.checkpoints import write_checkpoint
from tests.convert.quantized.matrices import CONFIG, HIDDEN, INNER, NAME, model, tensor_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.convert.writing import Array

CODES = np.random.default_rng(1).integers(0, 120, (INNER, HIDDEN), np.uint8)


def values_of(codes: Array) -> Array:
    """Return the values of positive numbers as the format defines them."""
    exponent, fraction = (codes >> 3).astype(np.float64), (codes & 7) / 8
    return np.where(exponent > 0, np.exp2(exponent - 7) * (1 + fraction), np.exp2(-6.0) * fraction)


@pytest.mark.parametrize("end", ["_scale", "_scale_inv"])
@pytest.mark.parametrize("shape", [(), (1,), (INNER,), (INNER, 1), (1, 1)])
def test_a_scale_is_multiplied(tmp_path: Path, end: str, shape: tuple[int, ...]) -> None:
    scales = np.random.default_rng(2).uniform(0.01, 0.02, shape).astype(np.float32)
    stored = {f"{NAME}.weight": CODES, f"{NAME}.weight{end}": scales}
    extra = {f"{NAME}.input_scale": np.array(2.0, np.float32)}  # of activations, not needed
    folder = write_checkpoint(tmp_path / "model", CONFIG, model({**stored, **extra}), exact=True)

    convert_folder(folder, tmp_path / "made.gguf")

    by_row = scales.reshape(-1, 1) if scales.ndim else scales
    found = tensor_of(tmp_path / "made.gguf", "blk.0.ffn_up.weight").data
    assert np.allclose(found, values_of(CODES) * by_row, rtol=1e-6)


def test_scales_of_another_shape_are_damage(tmp_path: Path) -> None:
    stored = {f"{NAME}.weight": CODES, f"{NAME}.weight_scale": np.ones((5, 7), np.float32)}
    folder = write_checkpoint(tmp_path / "model", CONFIG, model(stored), exact=True)

    with pytest.raises(IntegrityError, match="do not fit together"):
        convert_folder(folder, tmp_path / "made.gguf")
