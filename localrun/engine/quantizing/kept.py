"""Tensors that are kept at a higher precision than the rest of a quantized file, as data.

llama.cpp leaves some tensors as they are: small ones, and those that are looked up or decide more
than they compute. localrun adds exceptions of families that llama.cpp's mixtures do not know:

    latent attention (DeepSeek, GLM 4.7 Flash)   at least Q8_0
    tables of Gemma 3n for each layer            at least Q8_0
    layers that predict further tokens (MTP)     their projections at least Q8_0
    parts of a projector in the same file        as in the source

A mark of `KeptRule` is a part of a tensor's name, "^" before it its beginning. The first rule that
applies to a tensor is the reason that is shown. Norms and tensors of one dimension are never
quantized and need no rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.quantizing.types import BITS, BLOCKS, QUANTIZATIONS
from localrun.gguf.data import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import GgufTensor, Header

AS_SOURCE = ""  # instead of a type: that of the source
LAYER = re.compile(r"blk\.([0-9]{1,6})\.")
GLM5 = frozenset({"glm5-next"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRule:
    """Tensors of one kind, the least type that they keep, and why."""

    marks: tuple[str, ...]
    reason: str
    least: str = AS_SOURCE
    is_ours: bool = False  # else llama.cpp does the same by itself
    architectures: frozenset[str] = frozenset()  # empty: all

    def applies(self, name: str, architecture: str) -> bool:
        """Return whether the rule is about a tensor."""
        if self.architectures and architecture not in self.architectures:
            return False
        return any(_has_mark(name, mark) for mark in self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTensors:
    """Tensors of a file that have a higher precision than most, by their kind."""

    name: str  # the part of their names that they share
    num_tensors: int
    type_names: tuple[str, ...]
    reason: str


RULES = (
    KeptRule(
        marks=("ffn_gate_inp.weight", "ffn_gate_tid2eid.weight"),
        reason="they choose the experts of each token",
    ),
    KeptRule(
        marks=("altup", "laurel", "per_layer_model_proj"),
        reason="small matrices that mix the streams of Gemma 3n",
    ),
    KeptRule(
        marks=("^per_layer_token_embd.weight",),
        reason="a table that is looked up for each layer, not computed with",
        least="Q8_0",
        is_ours=True,
    ),
    KeptRule(
        marks=(
            "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
            "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight",
            "ssm_g_b.weight", "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight",
            "attn_v_b.weight",
        ),
        reason="small matrices that select what attention reads",
        architectures=GLM5,
    ),
    KeptRule(
        marks=("attn_q_a", "attn_q_b", "nextn.eh_proj"),
        reason="latent attention (MLA) compresses all heads through them",
        least="Q8_0",
        architectures=GLM5,
    ),
    KeptRule(
        marks=(
            "attn_k_b.weight", "attn_v_b.weight", "attn_kv_a_mqa.weight", "attn_q_a.weight",
            "attn_q_b.weight",
        ),
        reason="latent attention (MLA) compresses all heads through them",
        least="Q8_0",
        is_ours=True,
    ),
    KeptRule(
        marks=("nextn.",),
        reason="they predict further tokens (MTP), which are useless if they are often wrong",
        least="Q8_0",
        is_ours=True,
    ),
    KeptRule(
        marks=("indexer.k_proj.weight", "indexer.q_proj.weight"),
        reason="small matrices that select what attention reads",
    ),
    KeptRule(
        marks=("ssm_conv1d", "shortconv.conv.weight"),
        reason="small kernels of convolutions",
    ),
    KeptRule(
        marks=(
            "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight",
            "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight",
            "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
            "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight",
            "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
        ),
        reason="small matrices of RWKV's time mixing",
    ),
    KeptRule(
        marks=("^position_embd.weight", "^token_types.weight", "attn_rel_b.weight"),
        reason="positions and token types are looked up, not computed with",
    ),
    KeptRule(
        marks=(
            ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd",
            ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
        ),
        reason="they read the pixels or samples of media",
    ),
    KeptRule(
        marks=("^v.", "^mm.", "^a.", "^s.", "^resampler."),
        reason="parts of a projector: small letters in images need their precision",
        is_ours=True,
    ),
)  # fmt: skip


def rule_for(name: str, architecture: str) -> KeptRule | None:
    """Return the first rule that applies to a tensor, or None."""
    return next((rule for rule in RULES if rule.applies(name, architecture)), None)


def is_quantizable(name: str, tensor: GgufTensor, architecture: str) -> bool:
    """Return whether llama.cpp quantizes a tensor at all."""
    if all(size == 1 for size in tensor.sizes[1:]) or not name.endswith("weight"):
        return False
    if "_norm.weight" in name:
        return False
    return not any(
        rule.applies(name, architecture)
        for rule in RULES
        if not rule.is_ours and rule.least == AS_SOURCE
    )


def families_overrides(header: Header, default_type: str) -> dict[str, str]:
    """Return the types that localrun's own rules give to tensors of a source, by name.

    ``default_type`` is what most tensors become; tensors for which that is enough are left out.
    """
    types: dict[str, str] = {}
    for name, tensor in header.tensors.items():
        rule = rule_for(name, header.architecture)
        if rule is None or not rule.is_ours:
            continue
        stored = TENSOR_TYPES.get(tensor.kind)
        if stored is not None and is_quantizable(name, tensor, header.architecture):
            kept = rule.least or stored.name
            if BITS[kept] > BITS[default_type] and tensor.sizes[0] % BLOCKS[kept] == 0:
                types[name] = kept
    return types


def further_layers(header: Header) -> frozenset[int]:
    """Return the numbers of the layers that predict further tokens (MTP), the last ones."""
    num_layers = header.metadata.get(f"{header.architecture}.block_count")
    num_further = header.metadata.get(f"{header.architecture}.nextn_predict_layers")
    if not isinstance(num_layers, int) or not isinstance(num_further, int):
        return frozenset()
    return frozenset(range(max(0, num_layers - min(num_further, num_layers)), num_layers))


def layer_of(name: str) -> int | None:
    """Return the layer of a tensor, None if it belongs to none."""
    found = LAYER.match(name)
    return None if found is None else int(found[1])


def kept_tensors(
    tensors: Mapping[str, GgufTensor], architecture: str, file_type: str
) -> tuple[KeptTensors, ...]:
    """Return the tensors of a quantized file that a rule kept at a higher precision.

    Empty for a file that is not quantized.
    """
    kind = next((kind for kind in QUANTIZATIONS if kind.name == file_type), None)
    if kind is None or not kind.is_quantized:
        return ()
    groups: dict[tuple[str, str], list[str]] = {}
    for name, tensor in tensors.items():
        rule = rule_for(name, architecture)
        stored = TENSOR_TYPES.get(tensor.kind)
        if rule is None or stored is None or len(tensor.sizes) < 2:  # noqa: PLR2004 - a matrix
            continue
        if name.endswith("weight") and BITS[stored.name] > BITS[kind.tensor_type]:
            groups.setdefault((_shared_part(name), rule.reason), []).append(stored.name)
    return tuple(
        KeptTensors(
            name=name, num_tensors=len(types), type_names=tuple(sorted(set(types))), reason=reason
        )
        for (name, reason), types in groups.items()
    )


def _has_mark(name: str, mark: str) -> bool:
    return name.startswith(mark[1:]) if mark.startswith("^") else mark in name


def _shared_part(name: str) -> str:
    """Return a tensor's name without its layer and ``.weight``."""
    return LAYER.sub("", name).removesuffix(".weight")
