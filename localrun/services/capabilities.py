"""Capabilities of a model, by the headers of its files and its chat template.

completion   writes text                tools, thinking   supported by its template
insert       fills a gap in a text      vision, audio     accepted by its projector
embedding    turns text into a vector, and writes none
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import LoadError, UsageError
from localrun.gguf.heads import HEADS
from localrun.gguf.role import only_embeds, role_of
from localrun.hardware.architectures import unknown_architecture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localrun.gguf.header import Header
    from localrun.services.stored_model import StoredModel

UNKNOWN_HINT = "localrun search NAME   finds another file of it; localrun upgrade   a newer version"
GAP_TOKENS = (  # tokens before and after the gap; the second pair is the older spelling
    ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id"),
    ("tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id"),
)


def weights_capabilities(weights: Header) -> tuple[str, ...]:
    """Return the capabilities of the weights alone; empty for a file without weights."""
    if role_of(weights) != "weights" or weights.architecture in HEADS:
        return ()
    if _is_encoder(weights):
        return ("embedding",)
    knows_gaps = any(all(key in weights.metadata for key in pair) for pair in GAP_TOKENS)
    return ("completion", "insert") if knows_gaps else ("completion",)


def template_capabilities(own: Sequence[str], template: str | None) -> tuple[str, ...]:
    """Return the capabilities that a template adds to weights with ``own``."""
    text = template or ""
    if "completion" not in own:
        return ()
    marks = {"insert": "suffix=suffix", "tools": "tools", "thinking": "enable_thinking"}
    return tuple(name for name, mark in marks.items() if mark in text and name not in own)


def projector_inputs(projector: Header) -> tuple[str, ...]:
    """Return the inputs that a projector accepts: images, unless it has audio only."""
    hears = projector.metadata.get("clip.has_audio_encoder") is True
    sees = projector.metadata.get("clip.has_vision_encoder", not hears) is True
    return (*(("vision",) if sees else ()), *(("audio",) if hears else ()))


def projector_capabilities(projectors: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the capabilities that projectors add, by the inputs of each."""
    return tuple(sorted({name for inputs in projectors for name in inputs}, reverse=True))


def check_can_answer(model: StoredModel) -> None:
    """Check that a model writes text, before anything is loaded for it.

    Raises:
        UsageError: the model only embeds, or is no model.
    """
    check_is_model(model)
    if not {"embedding", "rerank"}.isdisjoint(model.details.capabilities):
        raise UsageError(
            f"{model.name} is an embedding model: it turns text into numbers and cannot answer",
            hint="localrun list   shows the models with the capability completion",
        )


def check_is_model(model: StoredModel) -> None:
    """Check that a model has weights of its own, which embedding needs too.

    Raises:
        UsageError: it is only a part of a model.
        LoadError: llama.cpp does not know its architecture.
    """
    if model.remote is not None:
        return
    role = model.details.role
    head = HEADS.get(model.details.family)
    if head is not None:
        raise UsageError(
            f"{model.name} is {head}, which drafts tokens for another model",
            hint=f"localrun run MODEL --draft {model.name}   or DRAFT in the recipe of the model",
        )
    unknown = unknown_architecture(model.details.family) if role == "weights" else None
    if unknown is not None:
        raise LoadError(f"{model.name} cannot be loaded: {unknown}", hint=_unknown_hint(model))
    if role == "adapter":
        raise UsageError(
            f"{model.name} is an adapter, which needs a model",
            hint=f"localrun run MODEL+{model.shards[0]}   applies it to the model it was made for",
        )
    if role == "projector":
        raise UsageError(
            f"{model.name} is a projector, which encodes images for a model",
            hint="localrun create NAME -f Modelfile   needs FROM lines for model and projector",
        )


def _unknown_hint(model: StoredModel) -> str:
    """Return what would help with an architecture that llama.cpp does not know."""
    from localrun.services.translating.notes import translation_hint  # few models need it
    from localrun.translation.rules import is_translatable

    if not is_translatable(model.details.family):
        return UNKNOWN_HINT
    return translation_hint(model.name, is_pulled=model.is_pulled)


def _is_encoder(header: Header) -> bool:
    """Return whether the model embeds, by its architecture or its pooling type."""
    pooling = header.metadata.get(f"{header.architecture}.pooling_type")
    return only_embeds(header.architecture, pooling)
