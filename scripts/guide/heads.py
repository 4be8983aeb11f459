"""Draft heads of guide: a small draft model, and an MTP layer in a file of another architecture.

Both predict guide's tokens and are for benchmarks and tests of speculative decoding; neither is
shipped. The draft model is guide's network in a small shape. llama.cpp has no MTP layers for
guide's architecture (Qwen 3), but for GLM 4.5's, whose dense layers compute the same. So the file
with the MTP layer has guide's weights under that architecture.

    MTP    (embedding of token t + 1, hidden state of t)  ->  token t + 2, and the next hidden state
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from guide.export import (
    FILE_TYPES,
    add_tensors,
    add_tokenizer,
    describe_shape,
    finish,
    gguf_name,
    write_model,
)
from guide.network import Block, Guide, Shape, angles
from guide.train import optimize, train, training_batches, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenizers import Tokenizer

    from guide.train import Plan

ARCHITECTURE = "glm4moe"
CHAINED = 3  # tokens that the MTP layer predicts one after another while it is trained
DRAFT_SHAPE = {"hidden": 128, "layers": 2, "heads": 4, "kv_heads": 2, "head": 32}
CORPUS_SEED, CHUNK_SAMPLES = 2000, 4000
PROMPT_LIMIT = 0.5  # only replies are predicted: their weight is 1


def train_draft(
    path: Path, tokenizer: Tokenizer, plan: Plan, report: Callable[[str], None]
) -> None:
    """Train a draft model of about a million weights and write it."""
    torch.manual_seed(plan.seed)
    shape = Shape(vocab=tokenizer.get_vocab_size(), feed_forward=384, **DRAFT_SHAPE)
    network = train(Guide(shape), tokenizer, plan, torch.device("cpu"), report)
    write_model(path, weights_of(network), tokenizer, shape)


class MtpLayer(nn.Module):
    """A layer that predicts the token after the next one."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.enorm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.hnorm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.eh_proj = nn.Linear(2 * shape.hidden, shape.hidden, bias=False)
        self.block = Block(shape)
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)

    def forward(self, embedded: Tensor, hidden: Tensor) -> Tensor:
        """Return the next hidden states; all have shape (batch, num_tokens, hidden)."""
        rope = angles(self.shape, embedded.shape[1], embedded.device)
        joined = torch.cat([self.enorm(embedded), self.hnorm(hidden)], dim=-1)
        normed: Tensor = self.norm(self.block(self.eh_proj(joined), rope))
        return normed

    def loss(self, guide: Guide, ids: Tensor, weights: Tensor) -> Tensor:
        """Return the mean cross entropy of the tokens that the layer predicts in a chain."""
        with torch.no_grad():
            hidden = guide(ids)
        losses = []
        for ahead in range(1, CHAINED + 1):
            hidden = self(guide.embed_tokens(ids[:, ahead:]), hidden[:, : ids.shape[1] - ahead])
            target, weight = ids[:, ahead + 1 :].flatten(), weights[:, ahead + 1 :].flatten()
            used = weight > PROMPT_LIMIT
            logits = functional.linear(
                hidden[:, :-1].flatten(0, 1)[used], guide.embed_tokens.weight
            )
            losses.append(functional.cross_entropy(logits.float(), target[used]))
        return torch.stack(losses).mean()


def train_mtp(
    path: Path, guide: Guide, tokenizer: Tokenizer, plan: Plan, report: Callable[[str], None]
) -> None:
    """Train an MTP layer on guide's frozen hidden states; write guide with it."""
    torch.manual_seed(plan.seed)
    guide.requires_grad_(requires_grad=False)
    layer = MtpLayer(guide.shape)
    layer.block.load_state_dict(guide.layers[-1].state_dict())
    made = training_batches(
        tokenizer, replace(plan, corpus_seed=CORPUS_SEED, chunk_samples=CHUNK_SAMPLES)
    )
    long_enough = ((ids, weights) for ids, weights in made if ids.shape[1] >= CHAINED + 2)

    def loss(ids: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer.loss(guide, ids, weights)

    optimize(layer, long_enough, loss, plan, report)
    write_mtp(path, guide, layer, tokenizer)


def write_mtp(path: Path, guide: Guide, layer: MtpLayer, tokenizer: Tokenizer) -> None:
    """Write guide and its MTP layer as a model of GLM 4.5's architecture."""
    llama_type, matrix_type = FILE_TYPES["Q8_0"]
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, guide.shape)
    writer.add_file_type(llama_type)
    add_tokenizer(writer, tokenizer)
    add_tensors(writer, _tensors(guide, layer), matrix_type)
    finish(writer)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("guide with an MTP layer")
    describe_shape(writer, shape, shape.layers + 1)
    writer.add_rope_dimension_count(shape.head)
    writer.add_nextn_predict_layers(1)
    # the layers of guide are dense; the MTP layer must have experts: its feed-forward network is
    # the shared one, beside a single expert of zeros
    writer.add_leading_dense_block_count(shape.layers)
    writer.add_expert_count(1)
    writer.add_expert_used_count(1)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(shape.feed_forward)


def _tensors(guide: Guide, layer: MtpLayer) -> dict[str, np.ndarray]:
    """Return all weights by llama.cpp's names of GLM 4.5."""
    shape, last = guide.shape, guide.shape.layers
    begin = f"blk.{last}."
    names = {gguf_name(name): tensor for name, tensor in weights_of(guide).items()}
    found = {name.replace("ffn_norm", "post_attention_norm"): t for name, t in names.items()}
    for name, tensor in weights_of(layer.block).items():
        kind = gguf_name(f"layers.{last}.{name}").replace("ffn_norm", "post_attention_norm")
        for part in ("gate", "up", "down"):
            kind = kind.replace(f"ffn_{part}.", f"ffn_{part}_shexp.")
        found[kind] = tensor
    for name in ("enorm", "hnorm", "eh_proj"):
        found[f"{begin}nextn.{name}.weight"] = weights_of(getattr(layer, name))["weight"]
    found[f"{begin}nextn.shared_head_norm.weight"] = weights_of(layer.norm)["weight"]
    found[f"{begin}ffn_gate_inp.weight"] = np.zeros((1, shape.hidden), np.float32)
    found[f"{begin}exp_probs_b.bias"] = np.zeros(1, np.float32)
    inner, outer = (1, shape.feed_forward, shape.hidden), (1, shape.hidden, shape.feed_forward)
    for name, size in (("gate", inner), ("up", inner), ("down", outer)):
        found[f"{begin}ffn_{name}_exps.weight"] = np.zeros(size, np.float32)
    return found
