"""Remote models of the store: read from their manifests, and refused where weights are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, UsageError
from localrun.remote.model import RemoteModel
from localrun.services.index.summaries import modified_at
from localrun.services.recipes import read_recipe
from localrun.services.stored_model import ModelDetails, StoredModel
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from localrun.store.blobs import BlobStore
    from localrun.store.manifest import Manifest
    from localrun.store.store import Entry

FORMAT = "remote"  # in place of gguf
MAX_LAYER = 1 << 20
NO_NAMES = frozenset({"auto", "none"})  # of a draft model


def remote_of(manifest: Manifest, blobs: BlobStore) -> RemoteModel | None:
    """Return the remote model of a manifest, or None if it has weights.

    Raises:
        IntegrityError: its layer is missing or malformed.
    """
    layers = manifest.with_role(Role.REMOTE)
    if not layers:
        return None
    return RemoteModel.from_bytes(blobs.read(layers[0].digest, max_bytes=MAX_LAYER))


def stored_remote(entry: Entry, blobs: BlobStore) -> StoredModel:
    """Return the model of a store entry whose manifest has an engine in place of weights.

    Raises:
        IntegrityError: its layer is malformed, or the entry is not of the user's own store.
    """
    name = entry.ref.name
    if not entry.is_own or entry.ref.origin is not None:
        raise IntegrityError(
            f"{name} is a remote model of another store, which may not choose where prompts go",
            hint=f"localrun cp {name} {name}   accepts it",
        )
    remote = remote_of(entry.manifest, blobs)
    if remote is None:
        raise IntegrityError(f"{name} is no remote model")
    return StoredModel(
        name=name,
        digest=entry.ref.manifest,
        size_bytes=entry.manifest.size_bytes,
        modified=modified_at(entry),
        details=remote_details(remote),
        remote=remote,
        shards=(),
        chat_template=None,
        origin=entry.ref.base,
        recipe=read_recipe(entry.manifest, blobs),
    )


def remote_details(remote: RemoteModel) -> ModelDetails:
    """Return the details of a remote model, as far as they are known here."""
    return ModelDetails(
        format=FORMAT,
        family=FORMAT,
        parameter_size="",
        quantization_level="",
        context_length=remote.context_length,
        capabilities=remote.capabilities,
    )


def refuse_remote(model: StoredModel, act: str = "nothing of it is loaded") -> None:
    """Refuse a remote model where the weights are needed.

    Raises:
        UsageError: the model is remote.
    """
    if model.remote is not None:
        raise UsageError(
            f"{model.name} is a remote model, answered by {model.remote.first.host}: {act} here",
            hint=f"localrun remote test {short_name(model.name)}   asks its engine",
        )


def refuse_entry(entry: Entry, act: str) -> None:
    """Refuse a remote model where its files leave this machine.

    Raises:
        UsageError: the entry is a remote model.
    """
    if entry.manifest.with_role(Role.REMOTE):
        name = short_name(entry.ref.name)
        raise UsageError(
            f"{entry.ref.name} is a remote model and has no files that could be {act}",
            hint=f"localrun show {name} --modelfile   prints a recipe of it",
        )


def refuse_adapters(model: StoredModel) -> None:
    """Refuse adapters on a remote model.

    Raises:
        UsageError: the model is remote.
    """
    refuse_remote(model, "adapters cannot be applied")


def refuse_draft(model: StoredModel, draft: str | None) -> None:
    """Refuse a draft model for a remote model, whose engine chooses how it computes.

    Raises:
        UsageError: the model is remote, and ``draft`` names a draft model.
    """
    if model.remote is not None and draft is not None and draft.lower() not in NO_NAMES:
        raise UsageError(
            f"{model.name} is a remote model, answered by {model.remote.first.host}: "
            f"{draft[:100]} cannot draft tokens for it here",
            hint="leave draft out: its engine decides",
            param="draft",
        )


def short_name(name: str) -> str:
    """Return a name as people type it."""
    return name.removesuffix(":latest")
