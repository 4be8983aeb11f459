"""Conversion of a PEFT LoRA adapter to GGUF, for one base model.

    layers.0.self_attn.q_proj   lora_A (rank, in)   ->  blk.0.attn_q.weight.lora_a
                                lora_B (out, rank)  ->  blk.0.attn_q.weight.lora_b

The rows of lora_B have the order of the base's rows, which differs in GGUF for LLaMA's heads
(tensors.py). Conversion is deterministic: the same adapter gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.config import Config
from localrun.convert.families.table import FAMILIES
from localrun.convert.peft import LoraPair, read_adapter
from localrun.convert.tensors import TensorNames, TensorPart, interleaved
from localrun.convert.writing import write_file
from localrun.errors import IntegrityError, UsageError
from localrun.gguf.adapter import EMBEDDING, OTHER_BASE, SUFFIX_A, SUFFIX_B, check_pair

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.convert.families.architecture import Architecture
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.tensors import FileType
    from localrun.gguf.header import Header

KINDS: dict[str, FileType] = {"F32": "F32", "F16": "F16", "BF16": "BF16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedAdapter:
    """Summary of the written adapter."""

    path: Path
    rank: int
    alpha: float
    num_pairs: int


def convert_adapter(source: Path, base: Header, path: Path) -> ConvertedAdapter:
    """Write the PEFT folder or safetensors file ``source`` as a GGUF adapter for ``base``.

    Raises:
        UsageError: the adapter is for another model, or is more than a LoRA adapter.
        NotFoundError: a file is missing.
        IntegrityError: a file is damaged or incomplete.
        StorageError: the disk does not take the file.
    """
    adapter = read_adapter(source)
    family = _family(base)
    names = TensorNames(family, Config({"num_hidden_layers": _layers(base)}, "the model"))
    parts: dict[str, TensorPart] = {}
    for pair in adapter.pairs:
        name = _name(pair, names, adapter.base_name)
        if any(part in name for part in family.unadaptable):
            raise UsageError(
                f"the adapter changes {pair.module}, which cannot be adapted in llama.cpp",
                hint="merge it into the model with PEFT's merge_and_unload, and convert that",
            )
        a, b = _parts(name, pair, family, base)
        check_pair(name, a.shape[::-1], b.shape[::-1], base)
        if a.name in parts:
            raise IntegrityError(f"{source} adapts {pair.module} under another name too")
        parts |= {a.name: a, b.name: b}
    writer = gguf.GGUFWriter(None, family.name)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, adapter.alpha)
    writer.add_name(source.resolve().name.removesuffix(".safetensors"))
    write_file(path, writer, list(parts.values()))
    return ConvertedAdapter(
        path=path,
        rank=max(pair.rank for pair in adapter.pairs),
        alpha=adapter.alpha,
        num_pairs=len(adapter.pairs),
    )


def _family(base: Header) -> Architecture:
    for family in FAMILIES.values():
        if family.name == base.architecture:
            return family
    known = sorted({family.name for family in FAMILIES.values()})
    raise UsageError(
        f"adapters for the architecture {base.architecture} cannot be converted; "
        f"for these they can: {', '.join(known)}",
        hint="convert it with llama.cpp's convert_lora_to_gguf.py and take the GGUF file",
    )


def _layers(base: Header) -> object:
    return base.metadata.get(f"{base.architecture}.block_count")


def _name(pair: LoraPair, names: TensorNames, base_name: str) -> str:
    """Return the name of the module's weight in the base model."""
    try:
        name = names.of(f"{pair.module}.weight")
    except UsageError as error:
        raise UsageError(
            f"the adapter, made for {base_name}, changes {pair.module}, "
            "which this model's architecture does not have",
            hint=OTHER_BASE,
        ) from error
    if name is None:
        raise UsageError(f"the adapter changes {pair.module}, which this model does not have")
    if pair.is_embedding != (name == EMBEDDING):
        raise IntegrityError(f"{pair.module} is adapted as if it were an embedding, or is one")
    return name


def _parts(
    name: str, pair: LoraPair, family: Architecture, base: Header
) -> tuple[TensorPart, TensorPart]:
    order = None
    if family.permutes_heads and name.endswith((".attn_q.weight", ".attn_k.weight")):
        order = _head_order(pair, base, is_key=name.endswith("attn_k.weight"))
    a: SafetensorsTensor | Array = pair.a
    b: SafetensorsTensor | Array = pair.b
    if pair.is_embedding:
        a = pair.a.float32().T
    if pair.factor != 1:
        b = pair.b.float32() * np.float32(pair.factor)
    return (
        TensorPart(name=name + SUFFIX_A, source=a, kind=_kind(pair.a, a)),
        TensorPart(name=name + SUFFIX_B, source=b, kind=_kind(pair.b, b), order=order),
    )


def _kind(stored: SafetensorsTensor, source: SafetensorsTensor | Array) -> FileType:
    """Return the type to write: the stored type, or F32 for computed values."""
    return KINDS.get(stored.dtype, "F32") if source is stored else "F32"


def _head_order(pair: LoraPair, base: Header, *, is_key: bool) -> Array:
    heads = base.metadata.get(f"{base.architecture}.attention.head_count")
    if is_key:
        heads = base.metadata.get(f"{base.architecture}.attention.head_count_kv", heads)
    num_rows = pair.b.shape[0]
    if not isinstance(heads, int) or heads < 1 or num_rows % (2 * heads):
        raise UsageError(
            f"the adapter's {pair.module} has {num_rows} rows, the model {heads} heads",
            hint=OTHER_BASE,
        )
    return interleaved(num_rows, heads)
