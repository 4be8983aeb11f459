"""Creation of a model from a recipe: files as blobs, texts as layers, one manifest.

The manifest depends only on the digests of the files and the content of the recipe, so the same
recipe has the same model id on every machine. A recipe that changes nothing yields the base's own
manifest.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.recognition import is_go_template
from localrun.engine.quantizing.choices import NO_OPTIONS, QuantizeOptions
from localrun.errors import IntegrityError, UsageError
from localrun.gguf.header import read_header
from localrun.hardware.architectures import unknown_architecture
from localrun.hardware.shape import context_note
from localrun.names.ref import ModelSource
from localrun.services.creating.adapters import add_adapters
from localrun.services.creating.facts import check_facts
from localrun.services.creating.manifests import make_manifest
from localrun.services.creating.parts import FILE_ROLES, ModelPart, ModelParts, PartCollector
from localrun.services.creating.quantizing import quantize_weights
from localrun.services.creating.recipe_files import check_template
from localrun.services.creating.remote import refuse_instructions, refuse_parts_of_remote
from localrun.services.creating.translating import translate_weights
from localrun.services.drafting.named import draft_problem, head_error
from localrun.services.progress import SilentReport
from localrun.services.recipes import StoredRecipe, recipe_bytes
from localrun.store.adopt import AdoptMode
from localrun.store.blobs import digest_of
from localrun.store.manifest import (
    MAX_BYTES,
    MEDIA_TYPES,
    OLLAMA_TEMPLATE,
    Descriptor,
    Role,
    parse_manifest,
)
from localrun.store.store import Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.modelfile.recipe import Recipe
    from localrun.names.ref import ModelRef
    from localrun.services.progress import ProgressReport
    from localrun.services.recipes import Value
    from localrun.services.workspace import Workspace
    from localrun.store.manifest import Manifest

FILE_NAMES = {Role.PROJECTOR: "mmproj", Role.ADAPTER: "adapter", Role.DRAFT: "draft"}
STRETCHING = ("rope_scaling", "rope_frequency_scale")  # extend the model's context


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """Options of a creation."""

    quantize: str | None = None  # a type such as Q4_K_M
    draft_quantize: str | None = None  # type of the draft model
    quantize_options: QuantizeOptions = NO_OPTIONS  # of the weights
    adopt_mode: AdoptMode = AdoptMode.AUTO  # of the user's files
    facts: Mapping[str, object] = field(default_factory=dict)  # stated by the client: see facts.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """Model that was created under a name."""

    name: str
    manifest: str  # digest
    size_bytes: int
    weights_bytes: int
    bits_per_weight: float | None  # None unless it was quantized
    is_changed: bool  # the name has another manifest than before, or is new


def create_model(
    workspace: Workspace,
    ref: ModelRef,
    recipe: Recipe,
    *,
    folder: Path,
    options: CreateOptions | None = None,
    report: ProgressReport | None = None,
) -> Created:
    """Create a model and name it; paths of the recipe are relative to ``folder``.

    The name changes only after everything else is complete.

    Raises:
        UsageError: the recipe is not valid for a model.
        NotFoundError: the recipe names a file or a model that does not exist.
        IntegrityError: a file is damaged, or an adapter belongs to another model.
        BackendError: the quantization failed.
        StorageError: the disk is full or cannot be written.
    """
    if ref.source in {ModelSource.URL, ModelSource.FILE} or ref.digest is not None:
        raise UsageError(f"not a valid new name: {ref}", hint="localrun create mine -f Modelfile")
    chosen, report = options or CreateOptions(), report or SilentReport()
    store = workspace.store
    with store.lease() as lease:
        collector = PartCollector(
            workspace, lease, report, folder=folder, adopt_mode=chosen.adopt_mode
        )
        parts, merged = gather_recipe(collector, recipe)
        refuse_parts_of_remote(parts, merged, chosen)
        is_translated = translate_weights(collector, parts)
        bits = None
        if chosen.quantize is not None:
            bits = quantize_weights(
                collector, parts, chosen.quantize, options=chosen.quantize_options
            )
        if chosen.draft_quantize is not None:
            _quantize_draft(collector, parts, chosen)
        check_facts(collector, parts, merged, chosen.facts)
        _note_long_context(collector, parts, merged)
        _note_unknown(collector, parts)
        manifest = write_manifest(collector, parts, merged)
        before = store.find(ref)
        provenance = Provenance(base=parts.origin)
        stored = store.tag(ref, manifest, lease, provenance, takes_remote=True)
    if chosen.adopt_mode is AdoptMode.MOVE and not is_translated:  # the file may have more
        for path in parts.adopted_files:
            path.unlink(missing_ok=True)
    return Created(
        name=stored.name,
        manifest=stored.manifest,
        size_bytes=parse_manifest(
            manifest
        ).size_bytes,  # its blob may have been collected meanwhile
        weights_bytes=sum(part.size_bytes for part in parts.weights),
        bits_per_weight=bits,
        is_changed=before is None or before.ref.manifest != digest_of(manifest),
    )


def gather_recipe(collector: PartCollector, recipe: Recipe) -> tuple[ModelParts, StoredRecipe]:
    """Add everything that a recipe names to the store; return the parts and the merged recipe.

    Raises:
        LocalrunError: as `create_model`.
    """
    if recipe.template:
        _check_template(recipe.template)
    parts = collector.gather(recipe.sources)
    if parts.remote is not None:
        refuse_instructions(recipe)
    scales = add_adapters(collector, parts, recipe.adapters)
    if recipe.draft is not None:
        parts.files[Role.DRAFT] = collector.gather_draft(recipe.draft)
        _check_draft(collector, parts)
    return parts, _merged(parts.recipe, recipe, scales)


def _check_draft(collector: PartCollector, parts: ModelParts) -> None:
    """Report a draft model that will not be used.

    Raises:
        UsageError: it is a draft head that cannot draft for the model, and is no model itself.
    """
    path = collector.workspace.store.blobs.path
    shards, draft = (
        [path(part.digest) for part in found] for found in (parts.weights, parts.files[Role.DRAFT])
    )
    if not (shards and draft):
        return
    problem = head_error(shards[0], draft[0])
    if problem:
        raise UsageError(f"DRAFT cannot draft tokens for the model: {problem}")
    with contextlib.suppress(IntegrityError):  # what is damaged is reported by other checks
        problem = draft_problem(shards, draft)
    if problem:
        collector.report.note(f"DRAFT will not be used: {problem}")


def _quantize_draft(collector: PartCollector, parts: ModelParts, chosen: CreateOptions) -> None:
    if not parts.files[Role.DRAFT]:
        raise UsageError("there is no draft model to quantize", hint="DRAFT   names one")
    quantize_weights(
        collector,
        parts,
        chosen.draft_quantize or "",
        role=Role.DRAFT,
        options=QuantizeOptions(allows_quantized=chosen.quantize_options.allows_quantized),
    )


def _note_long_context(collector: PartCollector, parts: ModelParts, merged: StoredRecipe) -> None:
    """Report a ``num_ctx`` that is larger than the model's own context."""
    num_ctx = merged.parameter("num_ctx")
    if not isinstance(num_ctx, int) or not parts.weights:
        return
    if any(merged.parameter(name) is not None for name in STRETCHING):
        return
    path = collector.workspace.store.blobs.path(parts.weights[0].digest)
    note = context_note(num_ctx, read_header(path).context_length, "")
    if note:
        collector.report.note(f"num_ctx will be {note}")


def _note_unknown(collector: PartCollector, parts: ModelParts) -> None:
    """Report weights of an architecture that llama.cpp does not know."""
    for part in parts.weights[:1]:
        path = collector.workspace.store.blobs.path(part.digest)
        note = unknown_architecture(read_header(path).architecture)
        if note is not None:
            collector.report.note(f"the model cannot be loaded: {note}")


def _check_template(text: str) -> None:
    try:
        check_template(text)
    except UsageError as error:
        raise UsageError(
            f"TEMPLATE: {error.message}", hint=error.hint or "localrun lint Modelfile   shows where"
        ) from error


def write_manifest(collector: PartCollector, parts: ModelParts, merged: StoredRecipe) -> bytes:
    """Store the texts of a model, and return its manifest."""
    store, base = collector.workspace.store, parts.base
    is_remote = parts.remote is not None
    if (
        base is not None
        and merged == parts.recipe
        and (is_remote or _files(parts) == _files_of(base.manifest))
    ):
        return store.blobs.read(base.ref.manifest, max_bytes=MAX_BYTES)
    return make_manifest(store, _layers(collector, parts, merged), collector.lease)


def _merged(base: StoredRecipe, recipe: Recipe, scales: tuple[float, ...]) -> StoredRecipe:
    """Merge the recipe into the base's recipe, as Ollama does."""
    licenses = dict.fromkeys((*base.licenses, *recipe.licenses))
    messages = tuple((message.role, message.content) for message in recipe.messages)
    return replace(
        base,
        system=recipe.system or base.system,
        template=recipe.template or base.template,
        parameters=_merged_parameters(base.parameters, recipe.parameters),
        messages=messages or base.messages,
        licenses=tuple(licenses),
        adapter_scales=base.adapter_scales + scales,
        renderer=recipe.renderer or base.renderer,
        parser=recipe.parser or base.parser,
        requires=recipe.requires or base.requires,
    )


def _merged_parameters(
    base: tuple[tuple[str, Value], ...], own: tuple[tuple[str, Value], ...]
) -> tuple[tuple[str, Value], ...]:
    """Replace parameters that the recipe sets in place, and append the new ones."""
    names = dict.fromkeys(name for name, _ in own)
    merged: list[tuple[str, Value]] = []
    done: set[str] = set()
    for name, value in base:
        if name not in names:
            merged.append((name, value))
        elif name not in done:
            merged += [pair for pair in own if pair[0] == name]
            done.add(name)
    return (*merged, *(pair for pair in own if pair[0] not in done))


def _layers(collector: PartCollector, parts: ModelParts, merged: StoredRecipe) -> list[Descriptor]:
    """Return all layers; their names depend only on their position."""
    layers = _remote_layers(collector, parts) if parts.remote else _weight_layers(parts)
    for role, stem in FILE_NAMES.items():
        for number, part in enumerate(parts.files[role]):
            name = f"{stem}-{number + 1}.gguf" if number else f"{stem}.gguf"
            layers.append(_file_layer(role, part, name))
    texts = [(MEDIA_TYPES[Role.LICENSE], text.encode()) for text in merged.licenses]
    if merged.template:
        kind = OLLAMA_TEMPLATE if is_go_template(merged.template) else MEDIA_TYPES[Role.TEMPLATE]
        texts.insert(0, (kind, merged.template.encode()))
    own = recipe_bytes(merged)
    if own is not None:
        texts.append((MEDIA_TYPES[Role.RECIPE], own))
    for media_type, content in texts:
        digest = collector.workspace.store.blobs.put(content, collector.lease)
        layers.append(Descriptor(media_type=media_type, digest=digest, size_bytes=len(content)))
    return layers


def _remote_layers(collector: PartCollector, parts: ModelParts) -> list[Descriptor]:
    content = parts.remote.to_bytes() if parts.remote else b""
    digest = collector.workspace.store.blobs.put(content, collector.lease)
    kind = MEDIA_TYPES[Role.REMOTE]
    return [Descriptor(media_type=kind, digest=digest, size_bytes=len(content))]


def _weight_layers(parts: ModelParts) -> list[Descriptor]:
    count = len(parts.weights)
    names = (
        ["model.gguf"]
        if count == 1
        else [f"model-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    )
    return [
        _file_layer(Role.WEIGHTS, part, name)
        for part, name in zip(parts.weights, names, strict=True)
    ]


def _file_layer(role: Role, part: ModelPart, name: str) -> Descriptor:
    return Descriptor(
        media_type=MEDIA_TYPES[role], digest=part.digest, size_bytes=part.size_bytes, name=name
    )


def _files(parts: ModelParts) -> list[list[str]]:
    return [[part.digest for part in parts_of_role] for parts_of_role in parts.files.values()]


def _files_of(manifest: Manifest) -> list[list[str]]:
    return [[layer.digest for layer in manifest.with_role(role)] for role in FILE_ROLES]
