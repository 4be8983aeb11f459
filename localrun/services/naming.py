"""Names of models: copy, rename, remove. Blobs are shared until the last name is removed."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, ModelNotFoundError, UsageError
from localrun.names.ref import ModelSource
from localrun.services.creating.manifests import layer_of, make_manifest
from localrun.store.adopt import adopt
from localrun.store.garbage import collect_garbage
from localrun.store.manifest import MAX_BYTES, Role
from localrun.store.refs import remove_ref
from localrun.store.store import Provenance, embedded_models, embedded_projectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Name that was removed."""

    name: str
    freed_bytes: int  # of blobs that no other name needs
    problem: str | None = None  # why unneeded bytes could not be freed


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that match a pattern with ``*`` and ``?``, with or without their tag."""
    wanted = pattern.lower()
    return [
        name
        for name in names
        if fnmatchcase(name.lower(), wanted) or fnmatchcase(name.lower().rpartition(":")[0], wanted)
    ]


def check_target(target: ModelRef) -> None:
    """Check that a reference can be a name in the store.

    Raises:
        UsageError: the reference is a URL or a file, or has a digest.
    """
    if target.source in {ModelSource.URL, ModelSource.FILE} or target.digest is not None:
        raise UsageError(f"not a valid new name: {target}", hint="names look like mine or mine:2")


def copy_model(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    """Point ``target`` at the model of ``source``, and return the new name.

    Raises:
        ModelNotFoundError: ``source`` does not exist.
        UsageError: ``target`` is a URL or a file, or ``source`` is a file.
        IntegrityError: a file of ``source`` is missing.
    """
    check_target(target)
    _refuse_file(source)
    store = workspace.store
    entry = store.find(source)
    if entry is None and str(source).lower() in embedded_models():
        return _copy_embedded(workspace, source, target)
    if entry is None:
        workspace.models.find_model(str(source))
        entry = store.find(source)  # another process has just created it
    if entry is None:
        raise ModelNotFoundError(f"{source} was removed just now", hint="localrun list")
    ref = entry.ref
    with store.lease([ref.manifest, *(blob.digest for blob in entry.manifest.blobs)]) as lease:
        if (
            store.find(source) == entry
        ):  # the name is unchanged, so all its blobs were leased in time
            store.check_whole(entry)
            manifest = store.blobs.read(ref.manifest, max_bytes=MAX_BYTES)
            provenance = Provenance(
                origin=ref.origin,
                choice=ref.choice,
                revision=ref.revision,
                base=ref.base,
                scheme=ref.scheme,
            )
            return store.tag(target, manifest, lease, provenance, takes_remote=True).name
    return copy_model(workspace, source, target)


def move_model(
    workspace: Workspace,
    source: ModelRef,
    target: ModelRef,
    carry_along: Callable[[str, str], None] = lambda _source, _target: None,
) -> str:
    """Rename ``source`` to ``target``, and return the new name.

    ``carry_along`` is called while both names exist, so that a server can rename a loaded model
    before the old name is gone.

    Raises:
        ModelNotFoundError: ``source`` does not exist.
        UsageError: ``target`` is a URL or a file, or ``source`` cannot be removed.
    """
    store = workspace.store
    entry = store.find(source)
    if entry is None:
        workspace.models.find_model(str(source))
        entry = store.find(source)  # another process has just created it
    if entry is None or not entry.is_own:
        raise UsageError(f"{source} cannot be renamed", hint=f"localrun cp {source} {target}")
    name = copy_model(workspace, source, target)
    carry_along(entry.ref.name, name)
    if source.key != target.key:
        remove_ref(store.layout, source)
    return name


def remove_model(workspace: Workspace, ref: ModelRef) -> Removed:
    """Remove a name, and the blobs that no other name needs.

    Raises:
        ModelNotFoundError: the model does not exist.
        UsageError: the model is embedded, or in a read-only store.
    """
    _refuse_file(ref)
    store = workspace.store
    try:
        entry = store.find(ref)
    except IntegrityError:
        return _remove_damaged(workspace, ref)
    if entry is None:
        if str(ref).lower() in embedded_models():
            raise UsageError(f"{ref} comes with localrun and cannot be removed")
        workspace.models.find_model(str(ref))
        raise ModelNotFoundError(f"{ref} was removed just now", hint="localrun list")
    if not entry.is_own:
        raise UsageError(
            f"{ref} is in a read-only store",
            hint="LOCALRUN_EXTRA_MODELS lists the read-only stores",
        )
    remove_ref(store.layout, ref)
    blobs = [entry.ref.manifest, *(blob.digest for blob in entry.manifest.blobs)]
    return _free(workspace, entry.ref.name, blobs)


def _remove_damaged(workspace: Workspace, ref: ModelRef) -> Removed:
    """Remove a name whose reference or manifest cannot be read."""
    if not remove_ref(workspace.store.layout, ref):
        raise UsageError(
            f"{ref} is in a read-only store",
            hint="LOCALRUN_EXTRA_MODELS lists the read-only stores",
        )
    return _free(workspace, str(ref), None)


def _free(workspace: Workspace, name: str, blobs: Iterable[str] | None) -> Removed:
    """Free the blobs of a removed name; the name is gone even if that fails."""
    try:
        collected = collect_garbage(workspace.store, only=blobs)
    except IntegrityError as error:
        return Removed(name=name, freed_bytes=0, problem=error.message)
    return Removed(name=name, freed_bytes=collected.freed_bytes)


def _refuse_file(ref: ModelRef) -> None:
    """Refuse a path instead of a name, whether or not the file exists."""
    if ref.source is ModelSource.FILE:
        raise UsageError(
            f"{ref} is a path, not the name of a model",
            hint=f"localrun import {ref}",
        )


def _copy_embedded(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    name = str(source).lower()
    files = {Role.WEIGHTS: embedded_models()[name]}
    projector = embedded_projectors().get(name)
    if projector is not None:
        files[Role.PROJECTOR] = projector
    with workspace.store.lease() as lease:
        layers = []
        for role, path in files.items():
            blob = adopt(workspace.store, path, lease)
            layers.append(layer_of(role, path.name, blob.path, blob.digest))
        manifest = make_manifest(workspace.store, layers, lease)
        return workspace.store.tag(target, manifest, lease).name
