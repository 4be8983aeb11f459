"""Tensors of a folder in which a quantized matrix, spread over several tensors, is one.

What a file needs besides the matrix, such as the common scale of NVFP4, follows it as a tensor of
its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.convert.config import Config, read_config
from localrun.convert.quantized.fp8 import SCALE, join_scale
from localrun.convert.quantized.integers import integer_tensor
from localrun.convert.quantized.layouts import AWQ_BITS, AwqLayout, GptqLayout, PackedLayout
from localrun.convert.quantized.mxfp4 import BLOCKS, SCALES, join_blocks
from localrun.convert.quantized.nvfp4 import join_nvfp4
from localrun.convert.safetensors import widened
from localrun.convert.sources import ConstantTensor
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from localrun.convert.safetensors import SafetensorsTensor
    from localrun.convert.sources import TensorSource

    Tensors = Mapping[str, SafetensorsTensor]
    Sources = Iterator[tuple[str, TensorSource]]

OLDER_FILE = "quantize_config.json"  # of GPTQ, beside config.json
GPTQ_VERSIONS = {"gptq": 1, "gptq_v2": 0}  # what a stored zero point lacks
GPTQ_BITS = (2, 3, 4, 8)
AWQ_KINDS = ("gemm",)
UNUSED = (".activation_scale", ".input_scale", ".k_scale", ".v_scale", "_activation_scale",
          ".input_global_scale", ".weight_shape", ".weight_g_idx")  # fmt: skip
PARTS = {
    ".weight": ("_scale", "_scale_inv", "_scale_2"),
    ".weight_packed": ("_scale", "_zero_point", "_global_scale"),
    ".qweight": ("qzeros", "scales", "g_idx"),
    BLOCKS: (SCALES,),
}


@dataclass(frozen=True, slots=True)
class SourceQuantization:
    """How a model's matrices are quantized, as its configuration says."""

    values: Config

    @property
    def num_bits(self) -> int:
        """Return the bits of an integer."""
        groups = self.values.inner("config_groups")
        for name in groups.values:
            return groups.inner(name).inner("weights").count("num_bits", 4)
        return self.values.count("bits", 4)


def read_quantization(folder: Path, root: Config) -> SourceQuantization:
    """Return what the folder's configuration says about quantization."""
    inner = root.inner("quantization_config")
    return SourceQuantization(inner if inner.values else read_config(folder, OLDER_FILE))


def joined(tensors: Tensors, quantization: SourceQuantization) -> Sources:
    """Yield the tensors by name; a quantized matrix is one, under the name of its weight.

    Raises:
        UsageError: a matrix is stored in a form that is not known here.
        IntegrityError: tensors of a matrix are missing, or do not fit together.
    """
    parts = set(_parts(tensors))
    for name, tensor in tensors.items():
        if name in parts:
            continue
        if name.endswith(".qweight"):
            yield _integers(name.removesuffix("qweight"), tensors, quantization)
        elif name.endswith(".weight_packed"):
            yield from _packed(name.removesuffix("_packed"), tensors, quantization)
        elif name.endswith(BLOCKS) and name.removesuffix(BLOCKS) + SCALES in tensors:
            stem = name.removesuffix(BLOCKS)
            yield stem, join_blocks(stem, tensor, tensors[stem + SCALES])
        else:
            yield from _floats(name, tensors)


def _floats(name: str, tensors: Tensors) -> Sources:
    """Yield a tensor that may have a scale: in NVFP4, in FP8, or a plain one."""
    tensor = tensors[name]
    scale = tensors.get(name + SCALE, tensors.get(f"{name}_scale"))
    if scale is None or tensor.dtype not in {"U8", "F8_E4M3"}:
        yield name, tensor
    elif tensor.dtype == "U8":
        yield name, join_nvfp4(name, tensor, scale)
        yield from _common_scales(name, tensors, "_scale_2", "input_scale", is_inverse=False)
    else:
        yield name, join_scale(tensor, scale)


def _parts(tensors: Tensors) -> Iterator[str]:
    """Yield the names of tensors that are parts of others, or have no effect."""
    is_quantized = any(name.endswith(tuple(PARTS)[1:]) for name in tensors) or any(
        tensor.dtype in {"F8_E4M3", "U8"} for tensor in tensors.values()
    )
    for name in tensors:
        if is_quantized and name.endswith(UNUSED):
            yield name
        for end, others in PARTS.items():
            if name.endswith(end):
                stem = name.removesuffix(end) + ("." if end == ".qweight" else "")
                stem += ".weight" if end in {".weight", ".weight_packed"} else ""
                yield from (stem + other for other in others if stem + other in tensors)


def _integers(
    stem: str, tensors: Tensors, quantization: SourceQuantization
) -> tuple[str, TensorSource]:
    """Return a matrix of GPTQ or AWQ; ``stem`` ends in a dot."""
    config = quantization.values
    method = config.text("quant_method", "gptq")
    qweight, qzeros, scales = (
        _required(tensors, stem + part) for part in ("qweight", "qzeros", "scales")
    )
    if {qweight.dtype, qzeros.dtype} != {"I32"}:
        raise UsageError(f"tensor {qweight.name} has the type {qweight.dtype}; I32 is known")
    if method == "awq":
        kind = config.text("version", "gemm").lower()
        if kind not in AWQ_KINDS or config.count("bits", 4) != AWQ_BITS:
            raise UsageError(f"{config.where}: AWQ in the version {kind!r} cannot be converted")
        layout: AwqLayout | GptqLayout = AwqLayout(
            qweight=qweight, qzeros=qzeros, stored_scales=scales
        )
    else:
        version = config.text("checkpoint_format", "gptq")
        if (
            method != "gptq"
            or version not in GPTQ_VERSIONS
            or quantization.num_bits not in GPTQ_BITS
        ):
            raise UsageError(
                f"{config.where}: {method} in the form {version!r} cannot be converted"
            )
        layout = GptqLayout(
            qweight=qweight,
            qzeros=qzeros,
            stored_scales=scales,
            g_idx=tensors.get(f"{stem}g_idx"),
            num_bits=quantization.num_bits,
            missing=GPTQ_VERSIONS[version],
        )
    layout.check()
    return f"{stem}weight", integer_tensor(f"{stem}weight", layout)


def _packed(name: str, tensors: Tensors, quantization: SourceQuantization) -> Sources:
    """Yield a matrix of LLM Compressor, in NVFP4 or of integers."""
    packed, scale = _required(tensors, f"{name}_packed"), _required(tensors, f"{name}_scale")
    if packed.dtype == "U8":
        yield name, join_nvfp4(name, packed, scale)
        ends = ("_global_scale", "input_global_scale")
        yield from _common_scales(name, tensors, *ends, is_inverse=True)
        return
    num_bits = quantization.num_bits
    if packed.dtype != "I32" or num_bits not in {4, 8}:
        raise UsageError(f"tensor {packed.name} has the type {packed.dtype}, {num_bits} bits")
    if f"{name}_g_idx" in tensors:
        raise UsageError(f"tensor {packed.name} has groups of scattered columns")
    layout = PackedLayout(
        packed=packed,
        stored_scales=scale,
        zero_points=tensors.get(f"{name}_zero_point"),
        num_bits=num_bits,
    )
    layout.check()
    yield name, integer_tensor(name, layout)


def _common_scales(
    name: str, tensors: Tensors, weight_end: str, input_name: str, *, is_inverse: bool
) -> Sources:
    """Yield the scales of a whole matrix and of its input as tensors."""
    stem = name.removesuffix("weight")
    for stored, made in (
        (name + weight_end, f"{stem}scale"),
        (stem + input_name, f"{stem}input_scale"),
    ):
        if stored in tensors:
            tensor = tensors[stored]
            values = widened(np.asarray(tensor.stored()).reshape(-1), tensor.dtype)
            if len(values) != 1 or not values[0] > 0:
                raise IntegrityError(f"tensor {stored} is not one number above 0")
            value = np.float32(1) / values[0] if is_inverse else values[0]
            yield made, ConstantTensor(name=stored, value=float(value))


def _required(tensors: Tensors, name: str) -> SafetensorsTensor:
    if name not in tensors:
        raise IntegrityError(f"the model has no tensor {name}, which its quantization needs")
    return tensors[name]
