"""Everything that is known of one model, and the recipe that makes it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from localrun.errors import LocalrunError
from localrun.gguf.data import TENSOR_TYPES
from localrun.gguf.header import read_header
from localrun.modelfile.known import KNOWN
from localrun.modelfile.recipe import AdapterUse, Message, Recipe
from localrun.modelfile.write import write_modelfile
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.names.ref import Source
from localrun.services.create import gather_recipe, write_manifest
from localrun.services.parts import Gatherer
from localrun.services.report import Silence
from localrun.store.blobs import digest_of
from localrun.store.embedded import embedded_models
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.gguf.header import Header
    from localrun.modelfile.recipe import Role as Speaker
    from localrun.services.models import StoredModel
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
    entry = _entry(workspace, name)
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


def recipe_text(workspace: Workspace, name: str) -> str:
    """Return a Modelfile from which ``create`` makes the same manifest.

    FROM names the base where that still gives the same model, else the very files.

    Raises:
        ModelNotFoundError: there is none of the name.
    """
    model = workspace.models.find_model(name)
    entry = _entry(workspace, name)
    if entry is None:
        base = str(model.shards[0]) if parse_name(name).source is Source.FILE else model.name
        return write_modelfile(Recipe(sources=(base,)))
    head = f"# {entry.ref.name}"
    for recipe in _candidates(workspace, model, entry):
        if _makes(workspace, recipe, entry):
            return f"{head}\n{write_modelfile(recipe)}"
    return f"{head}\n{write_modelfile(_by_files(model, entry))}"


def _candidates(workspace: Workspace, model: StoredModel, entry: Entry) -> list[Recipe]:
    """Return recipes that may make the model, the most readable first."""
    said, adapters = _said(model), _adapters(model, entry)
    names = [
        name for name in (entry.ref.base, entry.ref.origin) if name and _is_here(workspace, name)
    ]
    return [
        *(Recipe(sources=(name,), **said) for name in names),
        *(Recipe(sources=(name,), adapters=adapters, **said) for name in names if adapters),
        _by_files(model, entry),
        Recipe(sources=(f"{entry.ref.name}@{entry.ref.manifest}",), **said),
    ]


def _by_files(model: StoredModel, entry: Entry) -> Recipe:
    """Return the recipe that names the files of the store."""
    roles = (Role.WEIGHTS, Role.PROJECTOR)
    files = [layer.digest for role in roles for layer in entry.manifest.with_role(role)]
    drafts = entry.manifest.with_role(Role.DRAFT)
    return Recipe(
        sources=tuple(files),
        adapters=_adapters(model, entry),
        draft=drafts[0].digest if drafts else None,
        **_said(model),
    )


def _said(model: StoredModel) -> dict[str, Any]:
    """Return what the model's recipe says, as fields of a `Recipe`."""
    said = model.recipe
    return {
        "template": said.template,
        "system": said.system,
        "licenses": said.licenses,
        "messages": tuple(
            Message(role=cast("Speaker", role), content=text) for role, text in said.messages
        ),
        "parameters": tuple(pair for pair in said.parameters if pair[0] in KNOWN),
        "renderer": said.renderer,
        "parser": said.parser,
        "requires": said.requires,
    }


def _adapters(model: StoredModel, entry: Entry) -> tuple[AdapterUse, ...]:
    layers = entry.manifest.with_role(Role.ADAPTER)
    return tuple(
        AdapterUse(path=layer.digest, scale=scale)
        for layer, scale in zip(layers, model.recipe.adapter_scales, strict=True)
    )


def _is_here(workspace: Workspace, name: str) -> bool:
    """Tell whether a name can be a base without the network."""
    ref = parse_name(name)
    return workspace.store.find(ref) is not None or str(ref).lower() in embedded_models()


def _makes(workspace: Workspace, recipe: Recipe, entry: Entry) -> bool:
    """Tell whether a recipe makes the very manifest of a model."""
    try:
        with workspace.store.lease() as lease:
            gatherer = Gatherer(workspace, lease, Silence(), folder=Path("/"))
            manifest = write_manifest(gatherer, *gather_recipe(gatherer, recipe))
    except LocalrunError:  # a base that has changed since, or a store that is only read
        return False
    return digest_of(manifest) == entry.ref.manifest


def _entry(workspace: Workspace, name: str) -> Entry | None:
    """Return the store's entry of a model, None for one that is embedded or a file."""
    ref = parse_name(split_adapters(name)[0])
    return None if ref.source is Source.FILE else workspace.store.find(ref)


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
