"""Vision encoders of Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen 3.5.

Two pictures that follow each other in time are one input, so the first convolution has a matrix
for each; llama.cpp has the two as tensors of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.projectors.projector import Projector
from localrun.convert.sources import ViewedTensor
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.projectors.projector import Vision
    from localrun.convert.sources import TensorSource

PATCH = "visual.patch_embed.proj.weight"
FRAMES = 2
IMAGE_SIZE_2 = 560
MERGER = {"linear_fc1": "mm.0", "linear_fc2": "mm.2", "norm": "v.post_ln"}
DEEPSTACK = {"linear_fc1": "fc1", "linear_fc2": "fc2", "norm": "norm"}
POSITIONS = 2304


def _describe_2(writer: gguf.GGUFWriter, vision: Vision) -> None:
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN2VL)
    _describe_sizes_2(writer, vision, "embed_dim" if vision.encoder.has("embed_dim") else "")


def _describe_25(writer: gguf.GGUFWriter, vision: Vision) -> None:
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN25VL)
    _describe_sizes_2(writer, vision, "")
    writer.add_vision_use_silu(value=True)
    indexes = vision.encoder.numbers("fullatt_block_indexes")
    period = int(indexes[0]) + 1 if indexes else 0
    if not period or indexes != [period * (at + 1) - 1 for at in range(len(indexes))]:
        raise vision.encoder.wrong("fullatt_block_indexes", "every n-th layer, as in llama.cpp")
    writer.add_vision_n_wa_pattern(period)


def _describe_sizes_2(writer: gguf.GGUFWriter, vision: Vision, width: str) -> None:
    encoder = vision.encoder
    writer.add_vision_image_size(encoder.count("image_size", IMAGE_SIZE_2))
    writer.add_vision_embedding_length(encoder.count(width or "hidden_size"))
    writer.add_vision_feed_forward_length(
        encoder.count("hidden_size" if width else "intermediate_size")
    )
    writer.add_vision_attention_layernorm_eps(vision.model.number("rms_norm_eps", 1e-6))


def _describe_3(writer: gguf.GGUFWriter, vision: Vision) -> None:
    encoder = vision.encoder
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN3VL)
    side = encoder.count("num_position_embeddings", POSITIONS) ** 0.5
    size = encoder.count("image_size", int(side * encoder.count("patch_size", 16)))
    writer.add_vision_image_size(size)
    writer.add_vision_embedding_length(encoder.count("hidden_size"))
    writer.add_vision_feed_forward_length(encoder.count("intermediate_size"))
    writer.add_vision_use_gelu(value=True)
    if encoder.has("spatial_merge_size"):
        writer.add_vision_spatial_merge_size(encoder.count("spatial_merge_size"))
    writer.add_vision_attention_layernorm_eps(vision.text.number("rms_norm_eps", 1e-6))
    indexes = _deepstack_layers(vision)
    writer.add_vision_is_deepstack_layers([at in indexes for at in range(vision.num_layers)])


def _deepstack_layers(vision: Vision) -> list[int]:
    key = "deepstack_visual_indexes"
    indexes = (
        [int(index) for index in vision.encoder.numbers(key)] if vision.encoder.has(key) else []
    )
    if any(not 0 <= index < vision.num_layers for index in indexes):
        raise vision.encoder.wrong(key, "layers of the encoder")
    return indexes


def _pieces_2(name: str, source: TensorSource, vision: Vision) -> Pieces:
    del vision
    name = name.removeprefix("model.")
    if name == PATCH:
        return _frames(source)
    if ".qkv." not in name:
        return ((name, source),)
    rows = source.shape[0]
    if rows % 3:
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    third, made = rows // 3, []
    for at, part in enumerate("qkv"):
        plain = name.replace("qkv", part)
        made.append((plain, _rows(source, plain, at * third, third)))
    return made


def _rows(source: TensorSource, name: str, start: int, count: int) -> ViewedTensor:
    shape = (count, *source.shape[1:])
    end = start + count
    return ViewedTensor(name=name, source=source, shape=shape, view=lambda data: data[start:end])


def _frames(source: TensorSource) -> Pieces:
    if len(source.shape) != 5 or source.shape[2] != FRAMES:  # noqa: PLR2004 - of a 3D convolution
        raise UsageError(f"tensor {source.name} is not for {FRAMES} pictures, as llama.cpp assumes")
    channels, colors, _, *size = source.shape
    shape = (channels, colors, *size)
    names = ("v.patch_embd.weight", "v.patch_embd.weight.1")
    return (
        (
            names[0],
            ViewedTensor(
                name=names[0], source=source, shape=shape, view=lambda data: data[:, :, 0]
            ),
        ),
        (
            names[1],
            ViewedTensor(
                name=names[1], source=source, shape=shape, view=lambda data: data[:, :, 1]
            ),
        ),
    )


def _pieces_3(name: str, source: TensorSource, vision: Vision) -> Pieces:
    name = name.removeprefix("model.")
    if name == PATCH:
        return _frames(source)
    if name == "visual.patch_embed.proj.bias":
        return (("v.patch_embd.bias", source),)
    parts = name.split(".")
    if name.startswith("visual.merger.") and parts[2] in MERGER:
        return ((".".join([MERGER[parts[2]], *parts[3:]]), source),)
    if name.startswith("visual.deepstack_merger_list.") and parts[3] in DEEPSTACK:
        indexes, at = _deepstack_layers(vision), int(parts[2])
        if at >= len(indexes):
            raise IntegrityError(f"tensor {source.name} is of no layer of the configuration")
        middle = ["v.deepstack", str(indexes[at]), DEEPSTACK[parts[3]]]
        return ((".".join([*middle, *parts[4:]]), source),)
    return ((name, source),)


QWEN2_VL = Projector(describe=_describe_2, pieces=_pieces_2)
QWEN25_VL = replace(QWEN2_VL, describe=_describe_25)
QWEN3_VL = Projector(describe=_describe_3, pieces=_pieces_3)
