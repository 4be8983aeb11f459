"""Tensor mapping: the tensors of a GGUF file, with their sources and transformations.

Names come from the tables of the ``gguf`` package. Planning reads headers only. A `TensorPart`
computes its values in chunks, so conversion takes the memory of a chunk, not of a tensor.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import gguf
import numpy as np

from localrun.convert.families.keys import num_layers, num_predictors
from localrun.convert.names import BLOCK, TensorNames
from localrun.convert.quantized.blocks import BLOCKS
from localrun.convert.quantized.join import joined
from localrun.convert.safetensors import STORED, widened
from localrun.convert.sources import ConstantTensor, JoinedTensors, StackedTensors, ViewedTensor
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Architecture
    from localrun.convert.quantized.join import SourceQuantization
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import Rows, TensorSource

FileType = Literal["F32", "F16", "BF16", "MXFP4", "NVFP4", "Q4_0", "Q4_1", "Q8_0"]
PackedType = Literal["MXFP4", "NVFP4", "Q4_0", "Q4_1", "Q8_0"]

CHUNK_BYTES = 16 * 1024 * 1024
LARGEST_F16 = 65504.0
PACKED: dict[str, FileType] = {kind: kind for kind in get_args(PackedType)}
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
EXPERT = re.compile(
    r"(.{1,200}\.experts)\.(\d{1,5})\.(\w{1,32}\.(?:weight|bias|scale|input_scale))"
)
WHOLE_ENDINGS = (
    "norm.weight",  # of each head in some models
    ".ffn_gate_inp.weight",
    ".ffn_gate_inp_shexp.weight",
    ".shortconv.conv.weight",
    ".ssm_conv1d.weight",
    ".altup_correct_coef.weight",
    ".altup_predict_coef.weight",
)  # small too
KEPT_WHOLE = ("position_embd.weight", "token_types.weight")  # added, not multiplied: small


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPart:
    """A tensor of the GGUF file: the rows of a source, reordered, plus an offset, as ``kind``."""

    name: str
    source: TensorSource | Array
    kind: FileType
    order: Array | None = None
    offset: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape, slowest dimension first."""
        rows = self.source.shape[0] if self.order is None else len(self.order)
        return (rows, *self.source.shape[1:])

    @property
    def num_values(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Return the size in the file, without padding."""
        if self.kind in BLOCKS:
            values, size = BLOCKS[self.kind]
            return self.num_values // values * size
        return self.num_values * ITEM_BYTES[self.kind]

    def chunks(self) -> Iterator[Array]:
        """Yield the stored values in order (BF16 as bytes).

        Raises:
            UsageError: a value does not fit into F16.
        """
        is_file = not isinstance(self.source, np.ndarray)
        data: Rows = self.source if isinstance(self.source, np.ndarray) else self.source.stored()
        dtype = "F32" if isinstance(self.source, np.ndarray) else self.source.dtype
        num_rows = self.shape[0]
        step = max(1, CHUNK_BYTES // max(1, self.num_bytes // max(1, num_rows)))
        for start in range(0, num_rows, step):
            block = data[start : start + step]
            if self.order is not None:
                block = data[self.order[start : start + step]]
            is_same = is_file and dtype == self.kind and not self.offset
            yield block if is_same else self._stored(widened(block, str(dtype)))

    def _stored(self, values: Array) -> Array:
        values = values + np.float32(self.offset) if self.offset else values
        if self.kind == "F32":
            return values
        if self.kind == "BF16":
            return gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
        if not np.abs(values).max(initial=0.0) <= LARGEST_F16:  # also false for NaN
            raise UsageError(
                f"tensor {self.name} has values that do not fit into F16",
                hint="convert to BF16 or F32",
            )
        return values.astype(np.float16)


def plan(
    tensors: Mapping[str, SafetensorsTensor],
    config: Config,
    family: Architecture,
    file_type: FileType | None,
    quantization: SourceQuantization,
) -> list[TensorPart]:
    """Return the tensors of the file, sorted by name; a type of None keeps the source's type.

    Raises:
        UsageError: the architecture does not have a tensor.
        IntegrityError: a layer is incomplete, or a shape is impossible.
    """
    names = TensorNames(family, config)
    kind = file_type or usual_type(tensors)
    parts: dict[str, TensorPart] = {}
    for plain, source in _pieces(joined(tensors, quantization), names, config, family):
        name = names.of(plain)
        if name is None or _is_one(source):
            continue
        if name in parts:
            raise IntegrityError(f"the model has tensor {source.name} under another name too")
        parts[name] = _part(name, source, config, family, kind)
    kinds = family.layer_kinds(config) if family.layer_kinds else [""] * num_layers(config)
    _check_complete(parts, [*kinds, *["predictor"] * num_predictors(config)])
    return [parts[name] for name in sorted(parts, key=_natural)]


def _pieces(
    sources: Iterable[tuple[str, TensorSource]],
    names: TensorNames,
    config: Config,
    family: Architecture,
) -> Iterator[tuple[str, TensorSource]]:
    """Yield the sources of GGUF tensors with plain names; experts of a layer are stacked."""
    stacks: dict[str, dict[int, TensorSource]] = {}
    pattern = EXPERT if family.has_experts else family.stacked
    for stored_name, tensor in sources:
        for plain, source in family.pieces(names.plain(stored_name), tensor, config):
            match = pattern.fullmatch(plain) if pattern else None
            if match is None:
                yield plain, source
            else:
                stack = stacks.setdefault(f"{match[1]}.{match[3]}", {})
                stack[int(match[2])] = source
    for name, members in stacks.items():
        ordered = [members[index] for index in sorted(members)]
        if sorted(members) != list(range(len(members))):
            raise IntegrityError(f"{name} lacks an expert: it has {len(members)}")
        if len({(member.shape, member.dtype) for member in ordered}) > 1:
            raise IntegrityError(f"{name} has experts of several shapes or types")
        if all(isinstance(member, ConstantTensor) for member in ordered):
            yield name, JoinedTensors(name=name, members=tuple(ordered))
        else:
            yield name, StackedTensors(name=name, members=tuple(ordered))


def _is_one(source: TensorSource) -> bool:
    """Return whether a tensor is a scale of 1, which llama.cpp assumes without the tensor."""
    members = source.members if isinstance(source, JoinedTensors) else (source,)
    return all(isinstance(member, ConstantTensor) and member.value == 1 for member in members)


def interleaved(num_rows: int, num_heads: int) -> Array:
    """Return the row order that llama.cpp's rotation of LLaMA models requires.

    transformers pairs dimension i of a head with i + size / 2; llama.cpp pairs 2i with 2i + 1.
    """
    halves = np.arange(num_rows).reshape(num_heads, 2, num_rows // num_heads // 2)
    return halves.swapaxes(1, 2).reshape(-1)


def _part(
    name: str, tensor: TensorSource, config: Config, family: Architecture, kind: FileType
) -> TensorPart:
    is_small = (
        len(tensor.shape) == 1 or not name.endswith(".weight") or name.endswith(WHOLE_ENDINGS)
    )
    is_norm = name.endswith("norm.weight") and not name.endswith(family.plain_norms)
    return TensorPart(
        name=name,
        source=tensor,
        kind=stored_kind(name, tensor, "F32" if is_small or name in KEPT_WHOLE else kind),
        order=_order(name, tensor, config, family),
        offset=family.norm_offset if is_norm else 0.0,
    )


def stored_kind(name: str, tensor: TensorSource, kind: FileType) -> FileType:
    """Return the type of a tensor in the file; quantized blocks stay as they are.

    Raises:
        UsageError: a tensor of bytes is no format that is known here.
    """
    _check_blocks(tensor)
    if tensor.dtype in BLOCKS:
        return PACKED[tensor.dtype]
    if tensor.dtype not in STORED:
        raise UsageError(
            f"tensor {name} has the type {tensor.dtype}; F32, F16 and BF16 can be converted",
            hint="take the unquantized model",
        )
    return kind


def _check_blocks(source: TensorSource) -> None:
    """Refuse a change of a quantized matrix that takes its blocks apart.

    Raises:
        UsageError: the values of blocks are rearranged or computed with.
    """
    if isinstance(source, StackedTensors):
        for member in source.members:
            _check_blocks(member)
    inner = getattr(source, "source", None)
    if inner is None:
        return
    keeps_rows = isinstance(source, ViewedTensor) and source.keeps_rows
    if inner.dtype in BLOCKS and not keeps_rows:
        raise UsageError(
            f"tensor {inner.name} is quantized, and llama.cpp has its values in another order",
            hint="take the model that is not quantized",
        )
    _check_blocks(inner)


def _order(name: str, tensor: TensorSource, config: Config, family: Architecture) -> Array | None:
    if not tensor.shape or min(tensor.shape) == 0:
        raise IntegrityError(f"tensor {tensor.name} is empty")
    num_rows = tensor.shape[0]
    if family.permutes_heads and (".attn_q." in name or ".attn_k." in name):
        heads = config.count("num_attention_heads")
        if ".attn_k." in name:
            heads = config.count("num_key_value_heads", heads)
        if num_rows % (2 * heads):
            raise IntegrityError(f"tensor {tensor.name} has {num_rows} rows for {heads} heads")
        return interleaved(num_rows, heads)
    if name == "position_embd.weight" and family.skips_positions:
        return np.arange(family.skips_positions, num_rows)
    return None


def usual_type(tensors: Mapping[str, SafetensorsTensor]) -> FileType:
    """Return the type of the largest tensor: small tensors often have higher precision."""
    kinds: dict[str, FileType] = {"F32": "F32", "F16": "F16", "BF16": "BF16"}
    plain = [tensor for tensor in tensors.values() if tensor.dtype in kinds]
    largest = max(plain, key=lambda tensor: tensor.end - tensor.start, default=None)
    if largest is None:
        raise UsageError("the model has no tensors of type F32, F16 or BF16")
    return kinds[largest.dtype]


def _check_complete(parts: Mapping[str, TensorPart], kinds: Sequence[str]) -> None:
    """Check that all layers of a kind have the same tensors."""
    names_by_layer: dict[int, set[str]] = {index: set() for index in range(len(kinds))}
    for name in parts:
        match = BLOCK.fullmatch(name)
        if match:
            names_by_layer[int(match[1])].add(match[2])
    expected_of: dict[str, set[str]] = {}
    for index, names in names_by_layer.items():
        expected_of.setdefault(kinds[index], set()).update(names)
    for index, names in names_by_layer.items():
        expected = expected_of[kinds[index]]
        if names != expected or not names:
            missing = min(expected - names, default="tensors")
            raise IntegrityError(f"layer {index} of the model has no {missing}")
    if "token_embd.weight" not in parts:
        raise IntegrityError("the model has no token embeddings")


def _natural(name: str) -> tuple[int, str]:
    """Return the sort key of a tensor: layers by number, behind the other tensors."""
    match = BLOCK.fullmatch(name)
    return (int(match[1]), match[2]) if match else (-1, name)
