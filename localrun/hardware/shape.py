"""What of a model decides how much memory it takes: plain numbers, no file.

Widths count numbers in a token's vector; bytes are as the file stores them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One layer; what it has none of is 0."""

    dense_bytes: int  # weights that every token needs
    expert_bytes: int  # weights of which a token needs a few
    key_width: int  # numbers that each cell of the cache holds
    value_width: int
    is_windowed: bool  # it looks back no further than the model's window
    state_bytes: int  # of a recurrent layer, for each sequence whatever its length


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A model's weights, its memory of tokens, and the widths that its buffers have."""

    layers: tuple[LayerShape, ...]
    input_bytes: int  # embeddings, which stay with the processor
    output_bytes: int
    is_tied: bool  # the output is the embeddings, which a GPU needs a copy of
    width: int
    query_width: int  # of all heads together, the widest layer's
    inner_width: int  # of the widest feed forward that every token takes
    expert_width: int  # of the experts that one token takes, together; 0 without experts
    num_experts_used: int
    num_heads: int
    num_vocab: int
    trained_context: int
    window: int  # tokens; 0 without one
    largest_bytes: int  # the largest tensor of a layer
    mixing_width: int = 0  # of what a recurrent layer mixes; 0 without one
    extra_widths: int = 0  # what an architecture keeps beside, in widths of a token

    @property
    def num_layers(self) -> int:
        """Return the number of layers, the output not counted."""
        return len(self.layers)

    @property
    def has_experts(self) -> bool:
        """Return whether it is a mixture of experts."""
        return any(layer.expert_bytes for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all weights, each once."""
        layers = sum(layer.dense_bytes + layer.expert_bytes for layer in self.layers)
        return layers + self.input_bytes + (0 if self.is_tied else self.output_bytes)
