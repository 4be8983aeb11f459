"""Manifests of translated models, and what was published instead of them.

A translated layer keeps digest and size of the published file, and the manifest the digest of the
published manifest, so that a newer version is noticed, locked and repaired by what the source has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.store.blobs import digest_of
from localrun.store.manifest import MEDIA_TYPES, Descriptor, Manifest, PublishedFile, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.store.store import Entry
    from localrun.store.translations import TranslatedFile, TranslationRecord

OLLAMA_LAYER = "application/vnd.ollama.image."


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model as its source has it."""

    manifest: str  # digest
    layers: tuple[Descriptor, ...]


def translated_manifest(
    published: bytes, manifest: Manifest, records: Mapping[str, TranslationRecord]
) -> Manifest:
    """Return a manifest with the translations of the published files, by their digests.

    ``manifest`` is the parsed ``published``. What it says about translations elsewhere is left out.
    """
    has_projector = bool(manifest.with_role(Role.PROJECTOR))
    layers = tuple(
        new
        for layer in manifest.layers
        for new in _new_layers(layer, records, has_projector=has_projector)
    )
    return replace(manifest, layers=layers, published=digest_of(published))


def published_model(entry: Entry) -> PublishedModel:
    """Return the model that the source of an entry has: the stored one, unless translated here."""
    manifest, ref = entry.manifest, entry.ref
    is_registry = ref.origin is not None and parse_name(ref.origin).source is ModelSource.REGISTRY
    is_pushed = is_registry and ref.revision != manifest.published  # translated before a push
    if manifest.published is None or is_pushed:
        return PublishedModel(manifest=ref.manifest, layers=manifest.layers)
    layers = {layer.digest: layer for layer in map(_published_layer, reversed(manifest.layers))}
    return PublishedModel(manifest=manifest.published, layers=tuple(reversed(layers.values())))


def is_translated(manifest: Manifest) -> bool:
    """Return whether the weights were translated, here or before a push."""
    return any(layer.published is not None for layer in manifest.with_role(Role.WEIGHTS))


def _new_layers(
    layer: Descriptor, records: Mapping[str, TranslationRecord], *, has_projector: bool
) -> Iterator[Descriptor]:
    record = records.get(layer.digest)
    if record is None:
        yield replace(layer, published=None)
        return
    for file in record.files:
        if file.role is layer.role or not has_projector:
            yield _new_layer(layer, file)


def _new_layer(layer: Descriptor, file: TranslatedFile) -> Descriptor:
    published = PublishedFile(digest=layer.digest, size_bytes=layer.size_bytes)
    made = replace(layer, digest=file.digest, size_bytes=file.size_bytes, published=published)
    if file.role is layer.role:
        return made
    is_ollama = layer.media_type.startswith(OLLAMA_LAYER)
    media_type = f"{OLLAMA_LAYER}projector" if is_ollama else MEDIA_TYPES[file.role]
    return replace(made, media_type=media_type, name="mmproj.gguf" if layer.name else None)


def _published_layer(layer: Descriptor) -> Descriptor:
    if layer.published is None:
        return layer
    known = layer.published
    return replace(layer, digest=known.digest, size_bytes=known.size_bytes, published=None)
