"""Cohere's Command R and R7B: norms with a mean, logits with a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import sliding_window_pattern
from localrun.convert.safetensors import widened
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

PERIOD = 4  # llama.cpp's; the last layer of four sees the whole text, without positions


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_logit_scale(config.number("logit_scale"))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


def _describe_2(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    writer.add_sliding_window(config.count("sliding_window"))
    pattern = sliding_window_pattern(config, config.count("sliding_window_pattern", PERIOD))
    if pattern != [(index + 1) % PERIOD != 0 for index in range(len(pattern))]:
        raise UsageError(
            f"{config.where}: layer_types differ from every fourth one that llama.cpp assumes"
        )


def _without_biases(name: str, source: TensorSource, config: Config) -> Pieces:
    """Leave out biases, which are zeros in files of some versions."""
    del config
    if not name.endswith(".bias"):
        return ((name, source),)
    if np.any(widened(source.stored()[slice(None)], source.dtype)):
        raise UsageError(f"tensor {source.name} is not zero; llama.cpp has no biases here")
    return ()


COMMAND_R = Architecture(
    architecture=gguf.MODEL_ARCH.COMMAND_R,
    epsilon="layer_norm_eps",
    is_always_tied=True,
    context=("model_max_length", "max_position_embeddings"),
    describe=_describe,
)
COHERE_2 = Architecture(
    architecture=gguf.MODEL_ARCH.COHERE2,
    epsilon="layer_norm_eps",
    is_always_tied=True,
    describe=_describe_2,
    pieces=_without_biases,
)
