"""Keys that several architectures have: sizes, experts, and windows of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config

MAX_LAYERS = 512  # llama.cpp's limit
PREDICTORS = "num_converted_predictors"  # our own key
COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
USED = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts")
SCORES = {
    "sigmoid": gguf.ExpertGatingFuncType.SIGMOID,
    "softmax": gguf.ExpertGatingFuncType.SOFTMAX,
}


def num_layers(config: Config) -> int:
    """Return the number of layers, which is bounded because tables have its size."""
    count = config.count("num_hidden_layers")
    if count > MAX_LAYERS:
        raise config.wrong("num_hidden_layers", f"at most {MAX_LAYERS}")
    return count


def num_predictors(config: Config) -> int:
    """Return the number of layers behind the last that predict further tokens, if converted."""
    return count_if(config, PREDICTORS) or 0


def head_size(config: Config) -> int:
    """Return the number of dimensions of an attention head."""
    natural = config.count("hidden_size") // config.count("num_attention_heads")
    return config.count("head_dim", natural)


def describe_experts(writer: gguf.GGUFWriter, config: Config) -> None:
    """Write the numbers of experts and their groups, if the model has experts."""
    count = next((key for key in COUNTS if count_if(config, key)), None)
    if count is None:
        return
    writer.add_expert_count(config.count(count))
    writer.add_expert_used_count(config.count(next(filter(config.has, USED), USED[0])))
    if config.has("n_group"):
        writer.add_expert_group_count(config.count("n_group"))
    if config.has("topk_group"):
        writer.add_expert_group_used_count(config.count("topk_group"))
    if config.has("scoring_func"):
        score = config.text("scoring_func")
        if score not in SCORES:
            raise UsageError(f"{config.where}: experts chosen by {score!r} cannot be converted")
        writer.add_expert_gating_func(SCORES[score])


def count_if(config: Config, key: str) -> int | None:
    """Return a count that may be absent or 0."""
    return config.count(key) if config.has(key) and config.raw(key) != 0 else None


def sliding_window_pattern(config: Config, period: int) -> list[bool]:
    """Return for each layer whether its attention is limited to the sliding window."""
    kinds = config.texts("layer_types")
    count = config.count("num_hidden_layers")
    if not kinds:
        return [(index + 1) % period != 0 for index in range(count)]
    if len(kinds) != count or set(kinds) - {"sliding_attention", "full_attention"}:
        raise config.wrong("layer_types", "sliding_attention or full_attention for every layer")
    return [kind == "sliding_attention" for kind in kinds]
