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
from localrun.convert.families.table import architectures
from localrun.convert.names import TensorNames
from localrun.convert.peft import LoraPair, read_adapter
from localrun.convert.safetensors import widened
from localrun.convert.tensors import TensorPart, interleaved
from localrun.convert.writing import write_file
from localrun.errors import IntegrityError, UsageError
from localrun.gguf.adapter import EMBEDDING, OTHER_BASE, SUFFIX_A, SUFFIX_B, check_pair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from localrun.convert.families.architecture import Architecture
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import TensorSource
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
    config = _config(base)
    names = TensorNames(family, config)
    parts: dict[str, TensorPart] = {}
    for pair in adapter.pairs:
        for plain, rows in _pieces(pair, names, family, config):
            name = _name(plain, pair, names, adapter.base_name)
            if any(part in name for part in family.unadaptable):
                raise UsageError(
                    f"the adapter changes {pair.module}, which cannot be adapted in llama.cpp",
                    hint="merge it into the model with PEFT's merge_and_unload, and convert that",
                )
            a, b = _parts(name, pair, rows, family, base)
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
    families = architectures()
    family = families.get(base.architecture)
    if family is not None:
        return family
    known = sorted(families)
    raise UsageError(
        f"adapters for the architecture {base.architecture} cannot be converted; "
        f"for these they can: {', '.join(known)}",
        hint="convert it with llama.cpp's convert_lora_to_gguf.py and take the GGUF file",
    )


def _config(base: Header) -> Config:
    """Return what names depend on: the numbers of layers and of experts."""
    keys = {"num_hidden_layers": "block_count", "num_local_experts": "expert_count"}
    values = {name: base.metadata.get(f"{base.architecture}.{key}") for name, key in keys.items()}
    return Config(values, "the model")


def _pieces(
    pair: LoraPair, names: TensorNames, family: Architecture, config: Config
) -> Iterable[tuple[str, TensorSource]]:
    """Return the names of the adapted matrices, and the rows of B of each."""
    plain = names.plain(f"{pair.module}.weight")
    if family.adapter_pieces is None:
        return ((plain, pair.b),)
    return family.adapter_pieces(plain, pair.b, config)


def _name(plain: str, pair: LoraPair, names: TensorNames, base_name: str) -> str:
    """Return the name of the module's weight in the base model."""
    try:
        name = names.of(plain)
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
    name: str, pair: LoraPair, rows: TensorSource, family: Architecture, base: Header
) -> tuple[TensorPart, TensorPart]:
    order = None
    if family.permutes_heads and name.endswith((".attn_q.weight", ".attn_k.weight")):
        order = _head_order(pair, base, name)
    a: SafetensorsTensor | Array = pair.a
    b: TensorSource | Array = rows
    if pair.is_embedding:
        a = pair.a.float32().T
    if pair.factor != 1:
        b = widened(np.asarray(rows.stored()[slice(None)]), rows.dtype) * np.float32(pair.factor)
    return (
        TensorPart(name=name + SUFFIX_A, source=a, kind=_kind(a)),
        TensorPart(name=name + SUFFIX_B, source=b, kind=_kind(b), order=order),
    )


def _kind(source: TensorSource | Array) -> FileType:
    """Return the type to write: the stored type, or F32 for computed values."""
    return "F32" if isinstance(source, np.ndarray) else KINDS.get(source.dtype, "F32")


def _head_order(pair: LoraPair, base: Header, name: str) -> Array:
    heads = base.metadata.get(f"{base.architecture}.attention.head_count")
    if name.endswith("attn_k.weight"):
        heads = base.metadata.get(f"{base.architecture}.attention.head_count_kv", heads)
    if isinstance(heads, list):  # one number for each layer
        layer = int(name.split(".")[1])
        heads = heads[layer] if layer < len(heads) else None
    num_rows = pair.b.shape[0]
    if not isinstance(heads, int) or heads < 1 or num_rows % (2 * heads):
        raise UsageError(
            f"the adapter's {pair.module} has {num_rows} rows, the model {heads} heads",
            hint=OTHER_BASE,
        )
    return interleaved(num_rows, heads)
