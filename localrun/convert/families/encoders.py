"""Encoders: BERT and RoBERTa."""

from __future__ import annotations

import gguf

from localrun.convert.families.architecture import Architecture

BERT = Architecture(
    architecture=gguf.MODEL_ARCH.BERT,
    kind="encoder",
    activations=("gelu",),
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
)
ROBERTA = Architecture(
    architecture=gguf.MODEL_ARCH.BERT,
    kind="encoder",
    activations=("gelu",),
    skips_positions=2,  # positions begin behind that of the padding token, 1
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
)
