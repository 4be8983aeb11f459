"""Tensor mapping: the tensors of a GGUF file, with their sources and transformations.

Names come from the tables of the ``gguf`` package. Planning reads headers only. A `TensorPart`
computes its values in chunks, so conversion takes the memory of a chunk, not of a tensor.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import gguf
import numpy as np

from localrun.convert.families.keys import num_layers, num_predictors
from localrun.convert.fp8 import SCALE, join_scale
from localrun.convert.mxfp4 import BLOCK_BYTES, BLOCKS, GROUP, SCALES, join_blocks
from localrun.convert.safetensors import STORED, widened
from localrun.convert.sources import StackedTensors
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Architecture
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import Rows, TensorSource

FileType = Literal["F32", "F16", "BF16", "MXFP4"]

CHUNK_BYTES = 16 * 1024 * 1024
LARGEST_F16 = 65504.0
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
EXPERT = re.compile(r"(.{1,200}\.experts)\.(\d{1,5})\.(\w{1,32}\.(?:weight|bias))")
WHOLE_ENDINGS = (
    "norm.weight",  # of each head in some models
    ".ffn_gate_inp.weight",
    ".ffn_gate_inp_shexp.weight",
    ".shortconv.conv.weight",
    ".ssm_conv1d.weight",
    ".altup_correct_coef.weight",
    ".altup_predict_coef.weight",
)  # small too
HEADS = ("lm_head.", "head.", "decoder.")  # of encoders that predict hidden words
KEPT_WHOLE = ("position_embd.weight", "token_types.weight")  # added, not multiplied: small
SUFFIXES = (".weight", ".bias", ".scale")
WITHOUT_SUFFIX = (".ssm_a", ".ssm_d", ".ffn_norm")
WHOLE_NAMES = ("model.", "backbone.", "mtp.", "lm_head.", "vision_tower.", "multi_modal_",
               "visual.", "vision_model.")  # fmt: skip
BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
SKIPPED = re.compile(
    r"rotary_emb\.inv_freq$|position_ids$|^pooler\.|^cls\."
    r"|^(model\.)?(vision_tower|multi_modal_projector|visual|vision_model|audio_tower|connector"
    r"|embed_vision|embed_audio)\."
)


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
        if self.kind == "MXFP4":
            return self.num_values // GROUP * BLOCK_BYTES
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
) -> list[TensorPart]:
    """Return the tensors of the file, sorted by name; a type of None keeps the source's type.

    Raises:
        UsageError: the architecture does not have a tensor.
        IntegrityError: a layer is incomplete, or a shape is impossible.
    """
    names = TensorNames(family, config)
    kind = file_type or usual_type(tensors)
    parts: dict[str, TensorPart] = {}
    for plain, source in _pieces(tensors, names, config, family):
        name = names.of(plain)
        if name is None:
            continue
        if name in parts:
            raise IntegrityError(f"the model has tensor {source.name} under another name too")
        parts[name] = _part(name, source, config, family, kind)
    kinds = family.layer_kinds(config) if family.layer_kinds else [""] * num_layers(config)
    _check_complete(parts, [*kinds, *["predictor"] * num_predictors(config)])
    return [parts[name] for name in sorted(parts, key=_natural)]


class TensorNames:
    """The GGUF names of an architecture's tensors."""

    def __init__(self, family: Architecture, config: Config) -> None:
        self._family = family
        num_blocks = num_layers(config) + num_predictors(config)
        self._map = gguf.get_tensor_name_map(family.architecture, num_blocks)
        self._is_tied = family.is_always_tied or config.flag("tie_word_embeddings", default=False)

    def of(self, name: str) -> str | None:
        """Return the GGUF name of a tensor's `plain` name, or None if GGUF does not need it.

        Raises:
            UsageError: the architecture has no such tensor.
        """
        if SKIPPED.search(name) or (name == "lm_head.weight" and self._is_tied):
            return None
        if self._family.kind == "encoder" and name.startswith(HEADS):
            return None
        if BLOCK.fullmatch(name):  # the map does not have it yet
            return name
        gguf_name = self._map.get_name(name, try_suffixes=SUFFIXES)
        if gguf_name is None or not gguf_name.endswith((*SUFFIXES, *WITHOUT_SUFFIX)):
            raise UsageError(
                f"tensor {name} is not one of {self._family.name}'s, the model is another",
                hint="a quantized model or an adapter? take the plain model",
            )
        return gguf_name

    def plain(self, source: str) -> str:
        """Return the tensor's name in transformers' class for causal language models."""
        for old, new in self._family.renames:
            source = source.replace(old, new)
        if self._family.kind == "encoder":
            name = re.sub(r"^(bert|roberta|model)\.", "", source)
            return name.replace(".gamma", ".weight").replace(".beta", ".bias")
        name = re.sub(r"^(model\.language_model|language_model\.model)\.", "model.", source)
        name = name.removeprefix("language_model.")
        return name if name.startswith(WHOLE_NAMES) else f"model.{name}"


def _pieces(
    tensors: Mapping[str, SafetensorsTensor],
    names: TensorNames,
    config: Config,
    family: Architecture,
) -> Iterator[tuple[str, TensorSource]]:
    """Yield the sources of GGUF tensors with plain names; experts of a layer are stacked."""
    stacks: dict[str, dict[int, TensorSource]] = {}
    pattern = EXPERT if family.has_experts else family.stacked
    for stored_name, tensor in _joined(tensors):
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
        yield name, StackedTensors(name=name, members=tuple(ordered))


def _joined(
    tensors: Mapping[str, SafetensorsTensor],
) -> Iterator[tuple[str, TensorSource]]:
    """Yield the tensors by name; one with blocks or with scales of its own is one."""
    for name, tensor in tensors.items():
        stem = name.removesuffix(BLOCKS)
        if name + SCALE in tensors:
            yield name, join_scale(tensor, tensors[name + SCALE])
        elif stem != name and stem + SCALES in tensors:
            yield stem, join_blocks(stem, tensor, tensors[stem + SCALES])
        elif not _is_scale(name, tensors):
            yield name, tensor


def _is_scale(name: str, tensors: Mapping[str, SafetensorsTensor]) -> bool:
    pairs = ((SCALE, ""), (SCALES, BLOCKS))
    return any(
        name.endswith(end) and name.removesuffix(end) + other in tensors for end, other in pairs
    )


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
    """Return the type of a tensor in the file; MXFP4 stays as it is.

    Raises:
        UsageError: a tensor of bytes is no format that is known here.
    """
    if tensor.dtype == "MXFP4":
        return "MXFP4"
    if tensor.dtype not in STORED:
        raise UsageError(
            f"tensor {name} has the type {tensor.dtype}; F32, F16 and BF16 can be converted",
            hint="take the unquantized model",
        )
    return kind


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
