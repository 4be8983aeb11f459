"""Gemma 4: heads of another size in layers that see the whole text; some models have experts.

Those layers rotate a part of each head, whose other dimensions get frequencies of nearly 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.config import Config
from localrun.convert.families.architecture import GELU_TANH, Architecture
from localrun.convert.families.gemma3n import PERIOD, describe_layers, shared_kinds
from localrun.convert.families.keys import count_if, sliding_window_pattern
from localrun.convert.sources import PACKED
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

UNROTATED = 1e30  # divides the frequency
THETA, SHARE = 1_000_000.0, 0.25


def _adjust(config: Config) -> Config:
    """Return the configuration with the sizes of whole-text layers under the published keys."""
    by_layer, kinds = config.inner("per_layer_config"), config.texts("layer_types")
    changes: dict[str, object] = {}
    for index in by_layer.values:
        is_whole = index.isdecimal() and int(index) < len(kinds) and kinds[int(index)][0] == "f"
        layer = by_layer.inner(index)
        for old, new in (("head_dim", "global_head_dim"),
                         ("num_key_value_heads", "num_global_key_value_heads")):  # fmt: skip
            if is_whole and layer.has(old) and not config.has(new):
                changes.setdefault(new, layer.raw(old))
    return Config({**config.values, **changes}, config.where)


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    describe_layers(writer, config)
    whole, local = config.count("global_head_dim"), config.count("head_dim")
    writer.add_key_length(whole)
    writer.add_value_length(whole)
    writer.add_key_length_swa(local)
    writer.add_value_length_swa(local)
    writer.add_rope_dimension_count(whole)
    writer.add_rope_dimension_count_swa(local)
    writer.add_rope_freq_base(_whole_rope(config).number("rope_theta", THETA))
    for key in ("moe_intermediate_size", "expert_intermediate_size"):
        if size := count_if(config, key):
            writer.add_expert_feed_forward_length(size)
            break
    _describe_sizes(writer, config)


def _describe_sizes(writer: gguf.GGUFWriter, config: Config) -> None:
    """Write the heads of keys and the widths of layers, for each layer if they differ."""
    pattern = sliding_window_pattern(config, PERIOD)
    heads = config.count("num_key_value_heads")
    whole = count_if(config, "num_global_key_value_heads")
    if whole is None:
        writer.add_head_count_kv(heads)
    else:
        writer.add_head_count_kv([heads if is_local else whole for is_local in pattern])
    size = config.count("intermediate_size")
    first = len(pattern) - (count_if(config, "num_kv_shared_layers") or 0)
    if config.flag("use_double_wide_mlp", default=False):
        sizes = [size if index < first else 2 * size for index in range(len(pattern))]
        writer.add_feed_forward_length(sizes)
    else:
        writer.add_feed_forward_length(size)


def _whole_rope(config: Config) -> Config:
    return config.inner("rope_parameters").inner("full_attention")


def _computed(config: Config) -> dict[str, Array]:
    rope, size = _whole_rope(config), config.count("global_head_dim")
    if rope.text("rope_type", "proportional") != "proportional":
        raise UsageError(f"{rope.where}: Gemma 4 has the rope_type proportional")
    share = rope.number("partial_rotary_factor", SHARE)
    if not 0 < share <= 1:
        raise rope.wrong("partial_rotary_factor", "above 0, at most 1")
    factors = np.full(size // 2, UNROTATED, np.float32)
    factors[: int(size * share / 2)] = 1.0
    return {"rope_freqs.weight": factors}


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    del config
    if name.endswith(".router.scale"):
        name = name.replace(".router.scale", ".router.proj.scale")
    elif name.endswith(".router.per_expert_scale"):
        name = name.replace(".router.per_expert_scale", ".experts.down_proj.scale")
    elif name.endswith((*PACKED, "layer_scalar", "per_dim_scale")):
        name = f"{name}.weight"
    return ((name, source),)


GEMMA4 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA4,
    activations=GELU_TANH,
    is_always_tied=True,
    has_experts=True,
    has_usual_heads=False,
    has_rope=False,
    feed_forward="",
    tokenizer="gemma4",
    defaults={"head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "rope_local_base_freq": 10_000.0},
    describe=_describe,
    computed=_computed,
    pieces=_pieces,
    layer_kinds=shared_kinds,
    unadaptable=("per_layer_token_embd.",),
    adjust=_adjust,
)
