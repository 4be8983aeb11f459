"""What a model can do, by the headers of its files and its template.

completion   it writes text         tools, thinking   its template knows them
insert       also into a gap        vision, audio     its projector takes them
embedding    it turns a text into numbers, and writes none
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.gguf.encoders import only_embeds
from localrun.gguf.role import role_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.gguf.header import Header
    from localrun.services.stored_model import StoredModel

GAP_TOKENS = (  # what stands before and after the gap; the second pair is the older spelling
    ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id"),
    ("tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id"),
)


def weights_capabilities(weights: Header) -> tuple[str, ...]:
    """Return what the weights can do by themselves; nothing for a file that has none."""
    if role_of(weights) != "weights":
        return ()
    if _is_encoder(weights):
        return ("embedding",)
    knows_gaps = any(all(key in weights.metadata for key in pair) for pair in GAP_TOKENS)
    return ("completion", "insert") if knows_gaps else ("completion",)


def template_capabilities(own: Sequence[str], template: str | None) -> tuple[str, ...]:
    """Return what a template adds to weights that can do ``own``."""
    text = template or ""
    if "completion" not in own:
        return ()
    marks = {"insert": "suffix=suffix", "tools": "tools", "thinking": "enable_thinking"}
    return tuple(name for name, mark in marks.items() if mark in text and name not in own)


def projector_capabilities(projectors: Sequence[Header]) -> tuple[str, ...]:
    """Return what projectors take: images, where one does not say that it only hears."""
    found = {name for projector in projectors for name in _senses(projector)}
    return tuple(sorted(found, reverse=True))


def check_can_answer(model: StoredModel) -> None:
    """Check that a model writes text, before anything is loaded for it.

    Raises:
        UsageError: it only embeds, or is no model at all.
    """
    check_is_model(model)
    if "embedding" in model.details.capabilities:
        raise UsageError(
            f"{model.name} is an embedding model: it turns text into numbers and cannot answer",
            hint="localrun list   shows which models have the capability completion",
        )


def check_is_model(model: StoredModel) -> None:
    """Check that a model has weights of its own, which is all that embedding takes.

    Raises:
        UsageError: it is a part of one.
    """
    role = model.details.role
    if role == "adapter":
        raise UsageError(
            f"{model.name} is an adapter, which changes a model and is none",
            hint=f"localrun run guide+{model.shards[0]}   with the model that it was made for",
        )
    if role == "projector":
        raise UsageError(
            f"{model.name} is a projector, which turns images into a model's input",
            hint="localrun create NAME -f Modelfile   with a FROM line for each: model, projector",
        )


def _is_encoder(header: Header) -> bool:
    """Return whether the model embeds: by what it is, or by how its vectors are to be pooled."""
    pooling = header.metadata.get(f"{header.architecture}.pooling_type")
    return only_embeds(header.architecture, pooling)


def _senses(projector: Header) -> tuple[str, ...]:
    hears = projector.metadata.get("clip.has_audio_encoder") is True
    sees = projector.metadata.get("clip.has_vision_encoder", not hears) is True
    return (*(("vision",) if sees else ()), *(("audio",) if hears else ()))
