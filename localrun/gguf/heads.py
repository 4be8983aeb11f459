"""Draft heads: GGUF files that draft tokens for one model and are none themselves.

An EAGLE-3 head computes inputs of three layers of its model; llama.cpp outputs these for some
architectures only. DFlash heads and the assistants of Gemma 4 work by contexts that share the
model's cells or fill their own, which is another way of drafting for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.gguf.header import Header

EAGLE = "eagle3"
HEADS = {EAGLE: "an EAGLE-3 head", "dflash": "a DFlash head", "gemma4-assistant": "an assistant"}
WITH_LAYER_INPUTS = frozenset({"llama", "qwen3"})  # of full attention, and tested


def head_problem(target: Header, head: Header) -> str:
    """Return why a draft head cannot draft tokens for a model, "" if it can."""
    kind, name = HEADS[head.architecture], target.architecture
    if head.architecture != EAGLE:
        return f"it is {kind}, which localrun cannot compute; EAGLE-3 heads and small models draft"
    if name not in WITH_LAYER_INPUTS:
        return f"it is {kind}, and llama.cpp outputs no inputs of layers of {name}"
    return problem if (problem := _misfit(target, head)) == "" else f"it is {kind} {problem}"


def _misfit(target: Header, head: Header) -> str:
    """Return why an EAGLE-3 head is not for a model."""
    width = head.metadata.get(f"{EAGLE}.target_hidden_size")
    layers = head.metadata.get(f"{EAGLE}.target_layers")
    num_layers = target.metadata.get(f"{target.architecture}.block_count")
    if width != target.embedding_length:
        return f"for a model of width {width}, not {target.embedding_length}"
    has_ends = {"token_embd.weight", "output.weight"} <= head.tensors.keys()
    if not has_ends and head.embedding_length != width:  # llama.cpp takes those of the model
        return "without embeddings or output of its own, and of another width"
    if not isinstance(layers, list) or not isinstance(num_layers, int):
        return "that names no layers"
    numbers = [layer for layer in layers if isinstance(layer, int) and 0 <= layer <= num_layers]
    if len(numbers) != len(layers) or not numbers:
        return f"for a model of more than {num_layers} layers"
    return ""
