"""Details of one model, and the recipe that names its files.

A server uses it too, so nothing here creates or converts; see ``remake.py`` for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header, read_headers
from localrun.hardware.mtp import num_mtp_layers, unused_layers
from localrun.modelfile.known import KNOWN
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.write import write_modelfile
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.remote.source import format_sources
from localrun.services.quantizing.kept import kept_in
from localrun.services.remotes.stored import refuse_remote
from localrun.services.runner_models import runner_model
from localrun.services.translating.manifests import is_translated
from localrun.services.translating.notes import (
    NOT_TRANSLATED,
    SHOWN,
    is_old_layout,
    translation_hint,
)
from localrun.store.layout import hex_of
from localrun.store.manifest import Role
from localrun.supervisor.draft_choice import NO_DRAFT, DraftChoice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localrun.engine.quantizing.kept import KeptTensors
    from localrun.gguf.header import Header
    from localrun.modelfile.recipe import Role as Speaker
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFacts:
    """Adapter of a model."""

    digest: str
    scale: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """Tensor of the weights; the fastest dimension is first."""

    name: str
    type_name: str  # Q8_0
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Details for ``show`` beyond those of `StoredModel`."""

    model: StoredModel
    embedding_length: int | None  # dimensions of a token's vector
    num_shards: int
    adapters: tuple[AdapterFacts, ...]
    has_projector: bool
    shared_bytes: int  # part of its size that other models share
    template_features: tuple[str, ...]  # parts of a conversation that the template supports
    choice: str | None  # the quantization chosen for a name without one
    revision: str | None  # of its source repository
    kept_tensors: tuple[KeptTensors, ...]  # at a higher precision than most
    projector_types: tuple[str, ...]  # of the weights of its projectors
    layout: str | None  # a sentence about weights that were written for another program
    published: str | None  # digest of the manifest that its source has, if it was translated
    num_mtp_layers: int  # those that draft tokens
    unused_mtp: str  # why those that the file declares cannot
    draft: DraftChoice  # draft model of its loads, if there is memory for it


FEATURES = {  # texts in a template by the feature that they show
    "system": ("system",),
    "tools": ("tools",),
    "tool calls": ("tool_calls",),
    "tool results": ("tool_response", "'tool'", '"tool"', "ipython"),
    "thinking": ("enable_thinking", "reasoning_content", "<think>"),
    "images": ("image", "vision"),
    "documents": ("documents",),
}


def describe_model(workspace: Workspace, name: str) -> ModelFacts:
    """Return the details of a model.

    Raises:
        ModelNotFoundError: the model does not exist.
        IntegrityError: a file of the model is missing or damaged.
    """
    model = workspace.models.find_model(name)
    entry = entry_of(workspace, name)
    for shard in model.shards:
        workspace.models.headers.facts(shard)  # raises if it is damaged
    blobs = [] if entry is None else entry.manifest.blobs
    header = _header(model)
    others = set() if entry is None else workspace.models.blobs_of_others(entry.ref.name)
    return ModelFacts(
        model=model,
        embedding_length=model.details.embedding_length,
        num_shards=len(model.shards),
        adapters=tuple(
            AdapterFacts(
                digest=f"sha256:{path.name}" if path.parent.name == "sha256" else str(path),
                scale=scale,
                size_bytes=path.stat().st_size,
            )
            for path, scale in model.adapters
        ),
        has_projector=bool(model.projectors),
        shared_bytes=sum(blob.size_bytes for blob in blobs if hex_of(blob.digest) in others),
        template_features=features_of(model.chat_template),
        choice=entry.ref.choice if entry else None,
        revision=entry.ref.revision if entry else None,
        kept_tensors=kept_in(model),
        projector_types=tuple(read_header(path).file_type for path in model.projectors),
        layout=None if model.remote else _layout(model, entry),
        published=entry.manifest.published if entry is not None else None,
        num_mtp_layers=num_mtp_layers(header) if header else 0,
        unused_mtp=unused_layers(header) if header else "",
        draft=_draft(workspace, model),
    )


def _draft(workspace: Workspace, model: StoredModel) -> DraftChoice:
    if model.remote is not None or "completion" not in model.details.capabilities:
        return NO_DRAFT
    return workspace.drafts.choose(runner_model(model))


def _header(model: StoredModel) -> Header | None:
    """Return the header of all shards, None of a remote model."""
    if not model.shards:
        return None
    return read_headers(model.shards, array_ends=dict(model.array_ends))


def list_tensors(workspace: Workspace, name: str) -> tuple[TensorFacts, ...]:
    """Return the tensors of a model's weights.

    Raises:
        ModelNotFoundError: the model does not exist.
        UsageError: the model is remote.
        IntegrityError: a file of the model is missing or damaged.
    """
    model = workspace.models.find_model(name)
    refuse_remote(model, "its tensors are not")
    return tuple(_tensors(model.shards))


def features_of(template: str | None) -> tuple[str, ...]:
    """Return the parts of a conversation that a template supports."""
    text = template or ""
    return tuple(name for name, marks in FEATURES.items() if any(mark in text for mark in marks))


def files_text(workspace: Workspace, name: str) -> str:
    """Return a Modelfile that names the exact files of a model.

    Raises:
        ModelNotFoundError: the model does not exist.
    """
    model = workspace.models.find_model(name)
    entry = entry_of(workspace, name)
    if entry is not None:
        return write_modelfile(recipe_by_files(model, entry))
    return write_modelfile(Recipe(sources=(base_name(model),)))


def base_name(model: StoredModel) -> str:
    """Return the FROM value for a model that is not in the store."""
    is_file = parse_name(split_adapters(model.name)[0]).source is ModelSource.FILE
    return str(model.shards[0]) if is_file else model.name


def recipe_by_files(model: StoredModel, entry: Entry) -> Recipe:
    """Return the recipe that names the files of the store."""
    if model.remote is not None:
        return Recipe(sources=format_sources(model.remote), **recipe_fields(model))
    roles = (Role.WEIGHTS, Role.PROJECTOR)
    files = [layer.digest for role in roles for layer in entry.manifest.with_role(role)]
    drafts = entry.manifest.with_role(Role.DRAFT)
    return Recipe(
        sources=tuple(files),
        adapters=adapter_uses(model, entry),
        draft=drafts[0].digest if drafts else None,
        **recipe_fields(model),
    )


def recipe_fields(model: StoredModel) -> dict[str, Any]:
    """Return the model's recipe as fields of a `Recipe`."""
    recipe = model.recipe
    return {
        "template": recipe.template,
        "system": recipe.system,
        "licenses": recipe.licenses,
        "messages": tuple(
            RecipeMessage(role=cast("Speaker", role), content=text)
            for role, text in recipe.messages
        ),
        "parameters": tuple(pair for pair in recipe.parameters if pair[0] in KNOWN),
        "renderer": recipe.renderer,
        "parser": recipe.parser,
        "requires": recipe.requires,
    }


def adapter_uses(model: StoredModel, entry: Entry) -> tuple[AdapterUse, ...]:
    """Return the adapters of a model by digest."""
    layers = entry.manifest.with_role(Role.ADAPTER)
    return tuple(
        AdapterUse(path=layer.digest, scale=scale)
        for layer, scale in zip(layers, model.recipe.adapter_scales, strict=True)
    )


def entry_of(workspace: Workspace, name: str) -> Entry | None:
    """Return the store's entry of a model, or None for an embedded model or a file."""
    ref = parse_name(split_adapters(name)[0])
    return None if ref.source is ModelSource.FILE else workspace.store.find(ref)


def _layout(model: StoredModel, entry: Entry | None) -> str | None:
    """Return a sentence about weights in the layout of Ollama's old engine, before or now."""
    if entry is not None and is_translated(entry.manifest):
        return SHOWN
    if len(model.shards) != 1:
        return None
    header = read_header(model.shards[0], array_ends=dict(model.array_ends))
    if not is_old_layout(header):
        return None
    hint = translation_hint(model.name, is_pulled=model.is_pulled)
    return f"{NOT_TRANSLATED}: {hint}"


def _tensors(shards: Sequence[Path]) -> Iterator[TensorFacts]:
    for shard in shards:
        for name, tensor in read_header(shard).tensors.items():
            kind = TENSOR_TYPES.get(tensor.kind)
            type_name = f"type {tensor.kind}" if kind is None else kind.name
            yield TensorFacts(name=name, type_name=type_name, sizes=tensor.sizes)
