"""SigLIP as the vision encoder of Gemma 3, SmolVLM and Idefics 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.projectors.projector import Projector

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.projectors.projector import Vision
    from localrun.convert.sources import TensorSource

KEPT = ("model.connector.", "model.vision_model.")
INSIDE = "vision_tower.vision_model."
TOKENS, USUAL_SCALE = 256, 4  # of a picture in Gemma 3


def _describe_sizes(writer: gguf.GGUFWriter, vision: Vision, epsilon: float) -> None:
    encoder = vision.encoder
    writer.add_vision_image_size(encoder.count("image_size"))
    writer.add_vision_embedding_length(encoder.count("hidden_size"))
    writer.add_vision_feed_forward_length(encoder.count("intermediate_size"))
    writer.add_vision_attention_layernorm_eps(encoder.number("layer_norm_eps", epsilon))
    writer.add_vision_use_gelu(value=True)


def _describe_gemma3(writer: gguf.GGUFWriter, vision: Vision) -> None:
    writer.add_clip_projector_type(gguf.VisionProjectorType.GEMMA3)
    _describe_sizes(writer, vision, 1e-6)
    side = int(vision.pictures.count("image_seq_length", TOKENS) ** 0.5)
    scale = vision.encoder.count("image_size") // vision.encoder.count("patch_size") // side
    if scale not in {0, USUAL_SCALE}:
        writer.add_vision_projector_scale_factor(scale)


def _describe_idefics(writer: gguf.GGUFWriter, vision: Vision) -> None:
    writer.add_clip_projector_type(gguf.VisionProjectorType.IDEFICS3)
    _describe_sizes(writer, vision, 1e-5)
    writer.add_vision_projector_scale_factor(vision.model.count("scale_factor", 2))
    size = vision.pictures.inner("size").count("longest_edge", vision.encoder.count("image_size"))
    writer.add_vision_preproc_image_size(size)


def _pieces(name: str, source: TensorSource, vision: Vision) -> Pieces:
    del vision
    plain = name if name.startswith(KEPT) else name.removeprefix("model.")
    if plain.startswith("vision_tower.") and not plain.startswith(INSIDE):  # transformers 5
        plain = plain.replace("vision_tower.", INSIDE)
    if ".vision_model.head." in f".{plain}":
        return ()
    return ((plain.replace("_weight", ".weight"), source),)


GEMMA3 = Projector(
    describe=_describe_gemma3,
    pieces=_pieces,
    forced={"input_projection": "F16", ".embeddings.": "F32"},
    norm_offsets=("mm.soft_emb_norm.weight",),
)
IDEFICS3 = Projector(
    describe=_describe_idefics,
    pieces=_pieces,
    forced={".embeddings.": "F32"},
    defaults={"hidden_size": 1152, "num_attention_heads": 16, "intermediate_size": 3072},
)
