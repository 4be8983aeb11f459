"""Everything that is known of one model, and the recipe that names its files.

A server reads it too, so nothing here makes or converts; see ``remake.py`` for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header
from localrun.modelfile.known import KNOWN
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.write import write_modelfile
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localrun.gguf.header import Header
    from localrun.modelfile.recipe import Role as Speaker
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFacts:
    """An adapter of a model."""

    digest: str
    scale: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """A tensor of the weights; the fastest dimension is the first."""

    name: str
    type_name: str  # Q8_0
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What ``show`` tells beside what `StoredModel` has."""

    model: StoredModel
    embedding_length: int | None  # numbers in a token's vector
    num_shards: int
    adapters: tuple[AdapterFacts, ...]
    has_projector: bool
    shared_bytes: int  # of its size, that other models have too
    template_features: tuple[str, ...]  # of the conversation, that the template knows
    choice: str | None  # what was chosen where the name left it open
    revision: str | None  # of the repository it came from
    tensors: tuple[TensorFacts, ...]


FEATURES = {  # what a template names, by what it means
    "system": ("system",),
    "tools": ("tools",),
    "tool calls": ("tool_calls",),
    "tool results": ("tool_response", "'tool'", '"tool"', "ipython"),
    "thinking": ("enable_thinking", "reasoning_content", "<think>"),
    "images": ("image", "vision"),
    "documents": ("documents",),
}


def describe_model(workspace: Workspace, name: str) -> ModelFacts:
    """Return what is known of a model.

    Raises:
        ModelNotFoundError: there is none of the name.
        IntegrityError: a file of it is missing or damaged.
    """
    model = workspace.models.find_model(name)
    entry = entry_of(workspace, name)
    header = read_header(model.shards[0])
    blobs = [] if entry is None else entry.manifest.blobs
    others = _digests_of_others(workspace, entry)
    return ModelFacts(
        model=model,
        embedding_length=_length(header, "embedding_length"),
        num_shards=len(model.shards),
        adapters=tuple(
            AdapterFacts(
                digest=f"sha256:{path.name}" if path.parent.name == "sha256" else str(path),
                scale=scale,
                size_bytes=path.stat().st_size,
            )
            for path, scale in model.adapters
        ),
        has_projector=entry is not None and bool(entry.manifest.with_role(Role.PROJECTOR)),
        shared_bytes=sum(blob.size_bytes for blob in blobs if blob.digest in others),
        template_features=features_of(model.chat_template),
        choice=entry.ref.choice if entry else None,
        revision=entry.ref.revision if entry else None,
        tensors=tuple(_tensors(model.shards)),
    )


def features_of(template: str | None) -> tuple[str, ...]:
    """Return what of a conversation a template knows."""
    text = template or ""
    return tuple(name for name, marks in FEATURES.items() if any(mark in text for mark in marks))


def files_text(workspace: Workspace, name: str) -> str:
    """Return a Modelfile that names the very files of a model.

    Raises:
        ModelNotFoundError: there is none of the name.
    """
    model = workspace.models.find_model(name)
    entry = entry_of(workspace, name)
    if entry is not None:
        return write_modelfile(recipe_by_files(model, entry))
    return write_modelfile(Recipe(sources=(base_name(model),)))


def base_name(model: StoredModel) -> str:
    """Return what FROM says for a model that is not in the store."""
    is_file = parse_name(split_adapters(model.name)[0]).source is ModelSource.FILE
    return str(model.shards[0]) if is_file else model.name


def recipe_by_files(model: StoredModel, entry: Entry) -> Recipe:
    """Return the recipe that names the files of the store."""
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
    """Return what the model's recipe says, as fields of a `Recipe`."""
    said = model.recipe
    return {
        "template": said.template,
        "system": said.system,
        "licenses": said.licenses,
        "messages": tuple(
            RecipeMessage(role=cast("Speaker", role), content=text) for role, text in said.messages
        ),
        "parameters": tuple(pair for pair in said.parameters if pair[0] in KNOWN),
        "renderer": said.renderer,
        "parser": said.parser,
        "requires": said.requires,
    }


def adapter_uses(model: StoredModel, entry: Entry) -> tuple[AdapterUse, ...]:
    """Return the adapters of a model, by their digests."""
    layers = entry.manifest.with_role(Role.ADAPTER)
    return tuple(
        AdapterUse(path=layer.digest, scale=scale)
        for layer, scale in zip(layers, model.recipe.adapter_scales, strict=True)
    )


def entry_of(workspace: Workspace, name: str) -> Entry | None:
    """Return the store's entry of a model, None for one that is embedded or a file."""
    ref = parse_name(split_adapters(name)[0])
    return None if ref.source is ModelSource.FILE else workspace.store.find(ref)


def _digests_of_others(workspace: Workspace, entry: Entry | None) -> set[str]:
    if entry is None:
        return set()
    return {
        blob.digest
        for other in workspace.store.entries()
        if other.ref.name != entry.ref.name
        for blob in other.manifest.blobs
    }


def _tensors(shards: Sequence[Path]) -> Iterator[TensorFacts]:
    for shard in shards:
        for name, tensor in read_header(shard).tensors.items():
            kind = TENSOR_TYPES.get(tensor.kind)
            type_name = f"type {tensor.kind}" if kind is None else kind.name
            yield TensorFacts(name=name, type_name=type_name, sizes=tensor.sizes)


def _length(header: Header, key: str) -> int | None:
    found = header.metadata.get(f"{header.architecture}.{key}")
    return found if isinstance(found, int) else None
