"""Matrices of GPTQ, AWQ and LLM Compressor: the values in GGUF are those that were stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

from localrun.convert.model import convert_folder
from localrun.errors import IntegrityError, UsageError
from localrun.gguf.header import read_header
from tests.convert import oracle
from tests.convert.logits import logits
from tests.convert.oracle.checkpoints import PROMPT, weights, write_checkpoint
from tests.convert.quantized.matrices import (
    CONFIG,
    HIDDEN,
    INNER,
    LAYER,
    NAME,
    SHAPES,
    model,
    tensor_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.convert.writing import Array

GOLDEN = Path(oracle.__file__).parent / "golden"
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq"}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}
PACKED = {"quant_method": "compressed-tensors", "format": "pack-quantized",
          "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32}}}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Matrix:
    """Integers (rows, columns), scales and zero points (rows, groups), a group for each column."""

    integers: Array
    scales: Array
    zeros: Array
    groups: Array

    @property
    def values(self) -> Array:
        """Return the values in float64."""
        zeros = self.zeros[:, self.groups].astype(np.float64)
        return self.scales[:, self.groups].astype(np.float64) * (self.integers - zeros)


def matrix(bits: int, *, middle: bool, group: int = 32, rows: int = INNER) -> Matrix:
    rng = np.random.default_rng(bits)
    count = HIDDEN // group
    zeros = (
        np.full((rows, count), 1 << (bits - 1))
        if middle
        else rng.integers(1, 1 << bits, (rows, count))
    )
    return Matrix(
        integers=rng.integers(0, 1 << bits, (rows, HIDDEN)),
        scales=rng.uniform(0.01, 0.03, (rows, count)).astype(np.float16),
        zeros=zeros,
        groups=np.arange(HIDDEN) // group,
    )


def words(values: Array, bits: int) -> Array:
    """Return values packed along the last dimension into int32, the first in the lowest bits."""
    stream = (values[..., None] >> np.arange(bits)) & 1
    flat = stream.reshape(*values.shape[:-1], -1).astype(np.uint8)
    packed = np.packbits(flat, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view(np.int32)


def gptq(made: Matrix, bits: int, *, missing: int = 1, name: str = NAME) -> dict[str, Array]:
    return {
        f"{name}.qweight": words(made.integers, bits).T.copy(),
        f"{name}.qzeros": words(made.zeros.T - missing, bits),
        f"{name}.scales": made.scales.T.copy(),
        f"{name}.g_idx": made.groups.astype(np.int32),
    }


def awq(made: Matrix) -> dict[str, Array]:
    def packed(values: Array) -> Array:
        by_eight = values.reshape(len(values), -1, 8)[..., AWQ_ORDER]
        return words(by_eight.reshape(len(values), -1), 4)

    return {
        f"{NAME}.qweight": packed(made.integers.T),
        f"{NAME}.qzeros": packed(made.zeros.T),
        f"{NAME}.scales": made.scales.T.copy(),
    }


def compressed(made: Matrix, bits: int, *, has_zeros: bool) -> dict[str, Array]:
    zeros = {f"{NAME}.weight_zero_point": words(made.zeros.T, bits).T.copy()} if has_zeros else {}
    return {
        f"{NAME}.weight_packed": words(made.integers, bits),
        f"{NAME}.weight_scale": made.scales,
        f"{NAME}.weight_shape": np.array([INNER, HIDDEN]),
        **zeros,
    }


def converted(tmp_path: Path, stored: Mapping[str, Array], settings: dict[str, Any]) -> Path:
    config = {**CONFIG, "quantization_config": settings}
    folder = write_checkpoint(tmp_path / "model", config, model(stored), exact=True)
    convert_folder(folder, tmp_path / "made.gguf")
    return tmp_path / "made.gguf"


def values_of(path: Path, kind: str) -> Array:
    tensor = tensor_of(path, "blk.0.ffn_up.weight")
    assert tensor.tensor_type.name == kind
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type))


@pytest.mark.parametrize(("bits", "kind"), [(2, "Q4_0"), (3, "Q4_0"), (4, "Q4_0"), (8, "Q8_0")])
def test_gptq_with_zero_points_in_the_middle_loses_nothing(
    tmp_path: Path, bits: int, kind: str
) -> None:
    made = matrix(bits, middle=True)

    path = converted(tmp_path, gptq(made, bits), {**GPTQ, "bits": bits})

    assert np.array_equal(values_of(path, kind), made.values.astype(np.float32))


def test_gptq_with_other_zero_points_rounds_its_offsets_only(tmp_path: Path) -> None:
    made = matrix(4, middle=False)

    path = converted(tmp_path, gptq(made, 4), GPTQ)

    error = np.abs(values_of(path, "Q4_1") - made.values)
    assert (error <= 0.01 * made.scales[:, made.groups]).all()  # of a step


def test_the_second_version_of_gptq_stores_zero_points_as_they_are(tmp_path: Path) -> None:
    made = matrix(4, middle=True)

    path = converted(tmp_path, gptq(made, 4, missing=0), {**GPTQ, "checkpoint_format": "gptq_v2"})

    assert np.array_equal(values_of(path, "Q4_0"), made.values.astype(np.float32))


def test_groups_of_scattered_columns_become_the_type_of_the_other_tensors(tmp_path: Path) -> None:
    plain = matrix(4, middle=True)
    made = Matrix(plain.integers, plain.scales, plain.zeros, np.arange(HIDDEN) % 2)

    path = converted(tmp_path, gptq(made, 4), {**GPTQ, "desc_act": True})

    assert np.array_equal(values_of(path, "F32"), made.values.astype(np.float32))


def test_eight_bits_with_zero_points_become_the_type_of_the_other_tensors(tmp_path: Path) -> None:
    made = matrix(8, middle=False)

    path = converted(tmp_path, gptq(made, 8), {**GPTQ, "bits": 8})

    assert np.allclose(values_of(path, "F32"), made.values, rtol=1e-6)


def test_awq_rounds_its_offsets_only(tmp_path: Path) -> None:
    made = matrix(4, middle=False)

    path = converted(tmp_path, awq(made), AWQ)

    error = np.abs(values_of(path, "Q4_1") - made.values)
    assert (error <= 0.01 * made.scales[:, made.groups]).all()


@pytest.mark.parametrize(("bits", "kind"), [(4, "Q4_0"), (8, "Q8_0")])
def test_packed_integers_of_llm_compressor_lose_nothing(
    tmp_path: Path, bits: int, kind: str
) -> None:
    made = matrix(bits, middle=True)
    settings = {**PACKED, "config_groups": {"group_0": {"weights": {"num_bits": bits}}}}

    path = converted(tmp_path, compressed(made, bits, has_zeros=False), settings)

    assert np.array_equal(values_of(path, kind), made.values.astype(np.float32))


def test_zero_points_of_llm_compressor_count(tmp_path: Path) -> None:
    made = matrix(4, middle=False)

    path = converted(tmp_path, compressed(made, 4, has_zeros=True), PACKED)

    error = np.abs(values_of(path, "Q4_1") - made.values)
    assert (error <= 0.01 * made.scales[:, made.groups]).all()


def test_rows_are_reordered_with_their_blocks(tmp_path: Path) -> None:
    name = f"{LAYER}.self_attn.q_proj"
    made = matrix(4, middle=True, rows=SHAPES[f"{name}.weight"][0])
    config = {**CONFIG, "quantization_config": GPTQ}
    plain = model({}, name)
    exact = {**plain, f"{name}.weight": made.values.astype(np.float32)}
    found = []
    for at, tensors in enumerate(({**plain, **gptq(made, 4, name=name)}, exact)):
        folder = write_checkpoint(tmp_path / f"model{at}", config, tensors, exact=True)
        convert_folder(folder, tmp_path / f"{at}.gguf")
        found.append(logits(tmp_path / f"{at}.gguf", None, PROMPT))

    assert np.abs(found[0] - found[1]).max() < 0.03 * np.abs(found[1]).max()  # Q8_0 activations


def test_the_file_says_what_most_of_it_is(tmp_path: Path) -> None:
    wide, stored = 1024, model({})
    for part in ("gate_proj", "up_proj"):
        stored.pop(f"{LAYER}.mlp.{part}.weight", None)
        stored |= gptq(matrix(4, middle=True, rows=wide), 4, name=f"{LAYER}.mlp.{part}")
    stored[f"{LAYER}.mlp.down_proj.weight"] = np.zeros((HIDDEN, wide), np.float32)
    config = {**CONFIG, "intermediate_size": wide, "quantization_config": GPTQ}
    folder = write_checkpoint(tmp_path / "model", config, stored, exact=True)

    made = convert_folder(folder, tmp_path / "made.gguf")

    assert made.file_type == "Q4_0"
    assert read_header(tmp_path / "made.gguf").metadata["general.file_type"] == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**GPTQ, "checkpoint_format": "marlin"}, "'marlin' cannot be converted"),
        ({**GPTQ, "bits": 5}, "cannot be converted"),
        ({**AWQ, "version": "gemv"}, "'gemv' cannot be converted"),
        ({"quant_method": "hqq"}, "hqq"),
    ],
)
def test_other_forms_are_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        converted(tmp_path, gptq(matrix(4, middle=True), 4), settings)


def test_blocks_are_not_taken_apart(tmp_path: Path) -> None:
    known = json.loads((GOLDEN / "falconh1.json").read_text())
    tensors = weights(known["shapes"])
    name = "model.layers.0.feed_forward.gate_proj"  # which a multiplier changes
    del tensors[f"{name}.weight"]
    config = {**known["config"], "quantization_config": GPTQ}
    tensors |= gptq(matrix(4, middle=True), 4, name=name)
    folder = write_checkpoint(tmp_path / "model", config, tensors, exact=True)

    with pytest.raises(UsageError, match="its values in another order"):
        convert_folder(folder, tmp_path / "made.gguf")


@pytest.mark.parametrize("part", ["qzeros", "scales"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    stored = gptq(matrix(4, middle=True), 4)
    del stored[f"{NAME}.{part}"]

    with pytest.raises(IntegrityError, match=rf"no tensor .*\.{part}"):
        converted(tmp_path, stored, GPTQ)


def test_a_group_that_does_not_exist_is_damage(tmp_path: Path) -> None:
    stored = gptq(matrix(4, middle=True), 4)
    stored[f"{NAME}.g_idx"][3] = 9

    with pytest.raises(IntegrityError, match="do not fit together"):
        converted(tmp_path, stored, GPTQ)
