"""Draft heads of guide: a small draft model, and an MTP layer in a file of another architecture.

Both predict guide's tokens and are for benchmarks and tests of speculative decoding; neither is
shipped. The draft model is guide's network in a small shape. llama.cpp has no MTP layers for
guide's architecture (Qwen 3), but for GLM 4.5's, whose dense layers compute the same. So the file
with the MTP layer has guide's weights under that architecture.

    MTP    (embedding of token t + 1, hidden state of t)  ->  token t + 2, and the next hidden state
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import gguf
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from guide import corpus
from guide.batches import batches, tokenize
from guide.export import FILE_TYPES, add_tokenizer, finish, gguf_name, write_model
from guide.network import Block, Guide, Shape, angles
from guide.optimizer import Optimizer
from guide.sample import Split
from guide.train import Plan, rate, train, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenizers import Tokenizer

ARCHITECTURE = "glm4moe"
CHAINED = 3  # tokens that the MTP layer predicts one after another while it is trained
DRAFT_SHAPE = {"hidden": 128, "layers": 2, "heads": 4, "kv_heads": 2, "head": 32}
CHUNK_SAMPLES = 4000


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


PROMPT_LIMIT = 0.5  # replies only: their weight is 1


def train_mtp(
    path: Path, guide: Guide, tokenizer: Tokenizer, plan: Plan, report: Callable[[str], None]
) -> None:
    """Train an MTP layer on guide's frozen hidden states; write guide with it."""
    torch.manual_seed(plan.seed)
    guide.requires_grad_(requires_grad=False)
    layer = MtpLayer(guide.shape)
    layer.block.load_state_dict(guide.layers[-1].state_dict())
    optimizer, seen, average = Optimizer(layer), 0, 0.0
    steps = itertools.count(1)
    for chunk, first in enumerate(range(0, plan.samples, CHUNK_SAMPLES)):
        count = min(CHUNK_SAMPLES, plan.samples - first)
        samples = corpus.samples(plan.seed + 2000 + chunk, Split.TRAIN, count)
        for ids, weights in batches(tokenize(samples, tokenizer), plan.batch_tokens, plan.seed):
            if ids.shape[1] < CHAINED + 2:
                continue
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = layer.loss(guide, ids, weights)
            loss.backward()
            optimizer.step(plan.peak * rate(min(1.0, seen / plan.samples)))
            seen += len(ids)
            average = loss.item() if average == 0 else 0.98 * average + 0.02 * loss.item()
            step = next(steps)
            if step % 20 == 0:
                report(f"step {step}  {seen / plan.samples:.1%}  loss {average:.4f}")
    write_mtp(path, guide, layer, tokenizer)


def write_mtp(path: Path, guide: Guide, layer: MtpLayer, tokenizer: Tokenizer) -> None:
    """Write guide and its MTP layer as a model of GLM 4.5's architecture."""
    shape, matrix_type = guide.shape, FILE_TYPES["Q8_0"][1]
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, shape)
    writer.add_file_type(FILE_TYPES["Q8_0"][0])
    add_tokenizer(writer, tokenizer)
    for name, tensor in _tensors(guide, layer).items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor)
        else:
            data = gguf.quants.quantize(tensor, matrix_type)
            writer.add_tensor(name, data, raw_dtype=matrix_type)
    finish(writer)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("guide with an MTP layer")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers + 1)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
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
    for name, tensor in _named(layer.block).items():
        kind = gguf_name(f"layers.{last}.{name}").replace("ffn_norm", "post_attention_norm")
        for part in ("gate", "up", "down"):
            kind = kind.replace(f"ffn_{part}.", f"ffn_{part}_shexp.")
        found[kind] = tensor
    for name in ("enorm", "hnorm", "eh_proj"):
        found[f"{begin}nextn.{name}.weight"] = _named(getattr(layer, name))["weight"]
    found[f"{begin}nextn.shared_head_norm.weight"] = _named(layer.norm)["weight"]
    found[f"{begin}ffn_gate_inp.weight"] = np.zeros((1, shape.hidden), np.float32)
    found[f"{begin}exp_probs_b.bias"] = np.zeros(1, np.float32)
    inner, outer = (1, shape.feed_forward, shape.hidden), (1, shape.hidden, shape.feed_forward)
    for name, size in (("gate", inner), ("up", inner), ("down", outer)):
        found[f"{begin}ffn_{name}_exps.weight"] = np.zeros(size, np.float32)
    return found


def _named(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: t.detach().float().cpu().numpy() for name, t in module.state_dict().items()}
