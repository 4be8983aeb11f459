"""Shape of a model: the numbers that determine its memory, and its longest context.

Widths count elements of a token's vector; bytes are as the file stores them. Knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN_CONTEXT = 8192  # of a file without the trained context
MAX_STRETCH = 64  # times the trained context; models are made for at most 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """The weights and the cache of one layer; 0 for what it lacks."""

    dense_bytes: int  # weights used by every token
    expert_bytes: int  # weights of experts, of which a token uses a few
    key_width: int  # elements in each cache cell
    value_width: int
    is_windowed: bool  # sliding window attention
    state_bytes: int  # of a recurrent layer, per sequence of any length


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The weights, cache and buffer widths of a model."""

    layers: tuple[LayerShape, ...]
    input_bytes: int  # embeddings, which stay with the processor
    output_bytes: int
    is_tied: bool  # the output shares the embeddings, of which a GPU needs a copy
    width: int
    query_width: int  # of all heads together, the widest layer's
    inner_width: int  # of the widest dense feed-forward layer
    expert_width: int  # of all experts of one token together; 0 without experts
    num_experts_used: int
    num_heads: int
    num_vocab: int
    trained_context: int
    window: int  # tokens; 0 without one
    largest_bytes: int  # the largest tensor of a layer
    mixing_width: int = 0  # of the input of a recurrent layer's mixing; 0 without one
    head_sizes: tuple[int, ...] = ()  # elements of one head's keys and of its values
    has_flash_attention: bool = True  # llama.cpp has it for the architecture
    num_mtp_layers: int = 0  # the last layers, which draft tokens
    unused_mtp: str = ""  # why layers that the file declares cannot draft tokens
    extra_widths: int = 0  # further vectors per token that an architecture keeps

    @property
    def num_layers(self) -> int:
        """Return the number of layers without the output."""
        return len(self.layers)

    @property
    def has_experts(self) -> bool:
        """Return whether the model is a mixture of experts."""
        return any(layer.expert_bytes for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all weights, tied ones once."""
        layers = sum(layer.dense_bytes + layer.expert_bytes for layer in self.layers)
        return layers + self.input_bytes + (0 if self.is_tied else self.output_bytes)


def longest_context(trained: int | None, stretching: str) -> int:
    """Return the longest context of a model.

    ``stretching`` names the method of context extension, such as YaRN; "" for none.
    """
    longest = trained or UNKNOWN_CONTEXT
    return longest * MAX_STRETCH if stretching else longest


def context_note(asked: int | None, trained: int | None, stretching: str) -> str:
    """Return how a requested context is cut or extended, or "" if it is used as it is."""
    if asked is None or asked <= (trained or UNKNOWN_CONTEXT):
        return ""
    if trained is None:
        return f"cut from {asked} to {UNKNOWN_CONTEXT} tokens: the file does not tell the model's"
    if not stretching:
        return f"cut from {asked} to the model's own {trained} tokens"
    stretched = f"stretched from the model's own {trained} tokens by {stretching}"
    if asked <= longest_context(trained, stretching):
        return stretched
    return f"{stretched}, cut from {asked}: {MAX_STRETCH} times is the most"
