"""gpt-oss: experts whose gate and up rows alternate, with biases; attention with sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.quantized.mxfp4 import Mxfp4Tensor
from localrun.convert.sources import ViewedTensor, rows_of, transposed

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config.count("sliding_window"))
    writer.add_expert_feed_forward_length(config.count("intermediate_size"))


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    del config
    if isinstance(source, Mxfp4Tensor):
        return _packed(name, source)
    if name.endswith("experts.gate_up_proj"):
        wide = transposed(source, name)
        names = [name.replace("gate_up_proj", f"{part}_proj.weight") for part in ("gate", "up")]
        return tuple((made, rows_of(wide, at, 2, made)) for at, made in enumerate(names))
    if name.endswith("experts.gate_up_proj_bias"):
        names = [name.replace("gate_up_proj_bias", f"{part}_proj.bias") for part in ("gate", "up")]
        return tuple((made, _columns(source, at, made)) for at, made in enumerate(names))
    if name.endswith("experts.down_proj"):
        return ((f"{name}.weight", transposed(source, name)),)
    if name.endswith(".sinks"):
        name = f"{name}.weight"
    return ((name.replace("down_proj_bias", "down_proj.bias"), source),)


def _packed(name: str, source: Mxfp4Tensor) -> Pieces:
    """Return the matrices of packed experts, which are not transposed."""
    if name.endswith(".down_proj"):
        return ((f"{name}.weight", source),)
    names = [name.replace("gate_up_proj", f"{part}_proj.weight") for part in ("gate", "up")]
    return tuple((made, source.every_second(made, at)) for at, made in enumerate(names))


def _columns(source: TensorSource, start: int, name: str) -> ViewedTensor:
    rows, columns = source.shape
    return ViewedTensor(
        name=name,
        source=source,
        shape=(rows, columns // 2),
        view=lambda data: data[:, start::2],
    )


GPT_OSS = Architecture(
    architecture=gguf.MODEL_ARCH.GPT_OSS,
    has_experts=True,
    describe=_describe,
    pieces=_pieces,
)
