"""Pixtral's vision encoder, of Mistral 3 too: rotated positions, rows of a picture end by a token.

The embedding of that token, ``[IMG_BREAK]``, lies among those of the language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.projectors.projector import Projector, is_vision_tensor
from localrun.convert.sources import ViewedTensor
from localrun.convert.tensors import interleaved
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.projectors.projector import Vision
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

BREAK = "[IMG_BREAK]"
EMBEDDINGS = ".embed_tokens.weight"
ROTATED = ("q_proj.weight", "k_proj.weight")


def _describe(writer: gguf.GGUFWriter, vision: Vision) -> None:
    encoder = vision.encoder
    if encoder.text("model_type", "pixtral") != "pixtral":
        raise UsageError(f"{encoder.where}: an encoder of this model_type cannot be converted")
    writer.add_clip_projector_type(gguf.VisionProjectorType.PIXTRAL)
    writer.add_vision_image_size(encoder.count("image_size"))
    writer.add_vision_embedding_length(encoder.count("hidden_size"))
    writer.add_vision_feed_forward_length(encoder.count("intermediate_size"))
    writer.add_vision_attention_layernorm_eps(encoder.number("layer_norm_eps", 1e-5))
    activation = encoder.text("hidden_act", "silu")
    if activation not in {"silu", "gelu"}:
        raise encoder.wrong("hidden_act", "silu or gelu")
    (writer.add_vision_use_silu if activation == "silu" else writer.add_vision_use_gelu)(value=True)
    if vision.model.has("spatial_merge_size"):
        writer.add_vision_spatial_merge_size(vision.model.count("spatial_merge_size"))


def _uses(name: str) -> bool:
    return is_vision_tensor(name) or name.endswith(EMBEDDINGS)


def _pieces(name: str, source: TensorSource, vision: Vision) -> Pieces:
    if not name.endswith(EMBEDDINGS):
        return ((name.removeprefix("model."), source),)
    token = vision.tokens.get(BREAK)
    if token is None or token >= source.shape[0]:
        raise IntegrityError(f"{vision.model.where}: the tokenizer has no {BREAK} of this model")
    name = "v.token_embd.img_break"
    shape = (source.shape[1],)
    return ((name, ViewedTensor(
        name=name, source=source, shape=shape, view=lambda data: data[token]
    )),)  # fmt: skip


def _order(name: str, source: TensorSource, vision: Vision) -> Array | None:
    if not name.endswith(ROTATED):
        return None
    if source.shape[0] % (2 * vision.num_heads):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    return interleaved(source.shape[0], vision.num_heads)


PIXTRAL = Projector(describe=_describe, pieces=_pieces, uses=_uses, order=_order)
