"""Gemma 3n: embeddings of each layer, alternating updates (AltUp), learned low-rank residuals.

The last layers use the keys and values of earlier ones. Published files have embeddings for text
only; the rows of other media are zeros in llama.cpp, which gets those from the projector.
"""

from __future__ import annotations

import math
import re
from statistics import NormalDist
from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.families.architecture import GELU_TANH, Architecture
from localrun.convert.families.keys import count_if, sliding_window_pattern
from localrun.convert.rope import local_theta
from localrun.convert.sources import PaddedTensor

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

ALTUP = re.compile(r"(model\.altup_(?:unembed_)?projections)\.(\d{1,5})\.(weight)")
EMBEDDINGS = ("model.embed_tokens.weight", "model.embed_tokens_per_layer.weight")
PERIOD = 5
# built into llama.cpp
FIXED = {"altup_num_inputs": 4, "laurel_rank": 64, "hidden_size_per_layer_input": 256}
SPARSE_LAYERS, SPARSE_SHARE = 10, 0.95
LAYERS_WITH_KEYS = 20


def shared_kinds(config: Config) -> list[str]:
    """Return the kind of each layer: its attention, and whether it has its own keys."""
    kinds = sliding_window_pattern(config, PERIOD)
    first = len(kinds) - (count_if(config, "num_kv_shared_layers") or 0)
    return [f"{kind} {index < first}" for index, kind in enumerate(kinds)]


def describe_layers(writer: gguf.GGUFWriter, config: Config) -> None:
    """Write the keys that Gemma 3n and 4 share."""
    writer.add_sliding_window(config.count("sliding_window"))
    writer.add_sliding_window_pattern(sliding_window_pattern(config, PERIOD))
    writer.add_shared_kv_layers(count_if(config, "num_kv_shared_layers") or 0)
    size = count_if(config, "hidden_size_per_layer_input") or 0
    writer.add_embedding_length_per_layer_input(size)
    # without the key, llama.cpp computes with 30
    writer.add_final_logit_softcapping(config.number("final_logit_softcapping", 0.0))
    writer.add_float32(f"{writer.arch}.rope.freq_base_swa", local_theta(config))


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    describe_layers(writer, config)
    layers = config.count("num_hidden_layers")
    for key, value in FIXED.items():
        if config.count(key) != value:
            raise config.wrong(key, f"{value}, which llama.cpp assumes")
    if layers - (count_if(config, "num_kv_shared_layers") or 0) != min(layers, LAYERS_WITH_KEYS):
        raise config.wrong("num_kv_shared_layers", f"all but the first {LAYERS_WITH_KEYS} layers")
    writer.add_altup_num_inputs(FIXED["altup_num_inputs"])
    writer.add_altup_active_idx(count_if(config, "altup_active_idx") or 0)
    writer.add_feed_forward_length(
        [int(size) for size in _each(config, "intermediate_size", layers)]
    )
    shares = _each(config, "activation_sparsity_pattern", layers)
    if shares != [SPARSE_SHARE if index < SPARSE_LAYERS else 0.0 for index in range(layers)]:
        key = "activation_sparsity_pattern"
        raise config.wrong(key, f"{SPARSE_SHARE} in the first {SPARSE_LAYERS} layers, else 0")
    writer.add_activation_sparsity_scale([_deviations(config, share) for share in shares])


def _each(config: Config, key: str, layers: int) -> list[float]:
    """Return the values of all layers, which may be one number."""
    values = config.numbers(key) if isinstance(config.raw(key), list) else None
    found = [config.number(key)] * layers if values is None else values
    if len(found) != layers or min(found) < 0:
        raise config.wrong(key, f"{layers} numbers")
    return found


def _deviations(config: Config, share: float) -> float:
    """Return how many standard deviations are above this share of a normal distribution."""
    if share >= 1:
        raise config.wrong("activation_sparsity_pattern", "numbers below 1")
    return NormalDist().inv_cdf(float(np.float32(share))) if share > 0 else -math.inf


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    rows = config.count("vocab_size")
    if name in EMBEDDINGS and source.shape[0] < rows:
        source = PaddedTensor(name=name, source=source, num_rows=rows)
    return ((f"{name}.weight" if name.endswith("_scale") else name, source),)


GEMMA3N = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA3N,
    activations=GELU_TANH,
    is_always_tied=True,
    feed_forward="",
    stacked=ALTUP,
    defaults={"head_dim": 256, "hidden_act": "gelu_pytorch_tanh"},
    describe=_describe,
    pieces=_pieces,
    unadaptable=("altup_", "per_layer_token_embd."),
)
