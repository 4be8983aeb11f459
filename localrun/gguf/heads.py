"""Draft heads: GGUF files that draft tokens for one model and are none themselves.

EAGLE-3 and DFlash heads compute inputs of some layers of their model; llama.cpp outputs these for
some architectures only. Of DFlash heads there are three more kinds, and the assistants of Gemma 4
work by a context that shares the model's cells: those are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.gguf.header import Header

EAGLE, DFLASH = "eagle3", "dflash"
HEADS = {EAGLE: "an EAGLE-3 head", DFLASH: "a DFlash head", "gemma4-assistant": "an assistant"}
COMPUTED = frozenset({EAGLE, DFLASH})
WITH_LAYER_INPUTS = frozenset({"llama", "qwen3"})  # of full attention, and tested
ENDS = frozenset({"token_embd.weight", "output.weight"})
MASK_TOKEN = "tokenizer.ggml.mask_token_id"  # noqa: S105 - a key of the file


def head_problem(target: Header, head: Header) -> str:
    """Return why a draft head cannot draft tokens for a model, "" if it can."""
    kind, name = HEADS[head.architecture], target.architecture
    if head.architecture not in COMPUTED:
        return f"it is {kind}, which localrun cannot compute; EAGLE-3 and DFlash heads draft"
    if name not in WITH_LAYER_INPUTS:
        return f"it is {kind}, and llama.cpp outputs no inputs of layers of {name}"
    problem = _misfit(target, head)
    if head.architecture == DFLASH:
        problem = _unknown_kind(head) or problem
    return f"it is {kind} {problem}" if problem else ""


def _misfit(target: Header, head: Header) -> str:
    """Return why a head is not for a model."""
    layers = head.metadata.get(f"{head.architecture}.target_layers")
    num_layers = target.metadata.get(f"{target.architecture}.block_count")
    own = head.embedding_length  # of a DFlash head, that of its model
    is_eagle = head.architecture == EAGLE
    width = head.metadata.get(f"{EAGLE}.target_hidden_size") if is_eagle else own
    if width != target.embedding_length:
        return f"for a model of width {width}, not {target.embedding_length}"
    if not head.tensors.keys() >= ENDS and own != width:  # llama.cpp takes those of the model
        return "without embeddings or output of its own, and of another width"
    if not isinstance(layers, list) or not isinstance(num_layers, int):
        return "that names no layers"
    numbers = [layer for layer in layers if isinstance(layer, int) and 0 <= layer <= num_layers]
    if len(numbers) != len(layers) or not numbers:
        return f"for a model of more than {num_layers} layers"
    return ""


def _unknown_kind(head: Header) -> str:
    """Return what a DFlash head has that localrun cannot compute."""
    sections = head.metadata.get(f"{DFLASH}.rope.dimension_sections")
    others = {
        "with a Markov head (DSpark)": "markov_w1.weight" in head.tensors,
        "with a selector (DFlash 2)": "selector_hidden.weight" in head.tensors,
        "of DeepSeek 4": f"{DFLASH}.hyper_connection.count" in head.metadata,
        "with positions in sections": isinstance(sections, list) and any(sections),
    }
    for name, is_so in others.items():
        if is_so:
            return f"{name}, which localrun cannot compute"
    return "" if MASK_TOKEN in head.metadata else "that names no mask token"
