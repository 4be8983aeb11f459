"""Give a model another name, or take a name away; the bytes are shared until the last name goes."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, ModelNotFoundError, UsageError
from localrun.names.ref import ModelSource
from localrun.services.importing import check_target, import_path
from localrun.services.progress import SilentReport
from localrun.store.garbage import collect_garbage
from localrun.store.manifest import MOST_BYTES
from localrun.store.refs import remove_ref
from localrun.store.store import Provenance, embedded_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A name that is gone."""

    name: str
    freed_bytes: int  # of what no other name needs
    problem: str | None = None  # why bytes stay that no name needs


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern with ``*`` and ``?`` fits, with or without their tag."""
    wanted = pattern.lower()
    return [
        name
        for name in names
        if fnmatchcase(name.lower(), wanted) or fnmatchcase(name.lower().rpartition(":")[0], wanted)
    ]


def copy_model(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    """Let ``target`` mean what ``source`` means now; returns the new name.

    Raises:
        ModelNotFoundError: there is no ``source``.
        UsageError: ``target`` is a URL or a file, or ``source`` is a file.
        IntegrityError: a file of ``source`` is missing.
    """
    check_target(target)
    _refuse_file(source)
    store = workspace.store
    found = store.find(source)
    if found is None and str(source).lower() in embedded_models():
        return _copy_embedded(workspace, source, target)
    if found is None:
        workspace.models.find_model(str(source))
        found = store.find(source)  # another process named it just now
    if found is None:
        raise ModelNotFoundError(f"{source} was removed just now", hint="localrun list")
    ref = found.ref
    store.check_whole(found)
    with store.lease([ref.manifest, *(blob.digest for blob in found.manifest.blobs)]) as lease:
        if store.find(source) == found:  # so that all of it was leased while it was named
            manifest = store.blobs.read(ref.manifest, max_bytes=MOST_BYTES)
            provenance = Provenance(
                origin=ref.origin,
                choice=ref.choice,
                revision=ref.revision,
                base=ref.base,
                scheme=ref.scheme,
            )
            return store.tag(target, manifest, lease, provenance).name
    return copy_model(workspace, source, target)


def move_model(
    workspace: Workspace,
    source: ModelRef,
    target: ModelRef,
    carry_along: Callable[[str, str], None] = lambda _source, _target: None,
) -> str:
    """Let ``target`` mean what ``source`` means now, and take ``source`` away.

    ``carry_along`` is called while both names are there: a server that has the model loaded
    can give it the new one before the old one is missing.

    Raises:
        ModelNotFoundError: there is no ``source``.
        UsageError: ``target`` is a URL or a file, or ``source`` cannot be taken away.
    """
    store = workspace.store
    found = store.find(source)
    if found is None:
        workspace.models.find_model(str(source))
        found = store.find(source)  # another process named it just now
    if found is None or not found.is_own:
        raise UsageError(f"{source} cannot be renamed", hint=f"localrun cp {source} {target}")
    name = copy_model(workspace, source, target)
    carry_along(found.ref.name, name)
    if source.key != target.key:
        remove_ref(store.layout, source)
    return name


def remove_model(workspace: Workspace, ref: ModelRef) -> Removed:
    """Take a name away, and the bytes that no other name needs.

    Raises:
        ModelNotFoundError: no such model.
        UsageError: it is embedded, or in a store that is only read.
    """
    _refuse_file(ref)
    store = workspace.store
    try:
        found = store.find(ref)
    except IntegrityError:
        return _remove_damaged(workspace, ref)
    if found is None:
        if str(ref).lower() in embedded_models():
            raise UsageError(f"{ref} comes with localrun and cannot be removed")
        workspace.models.find_model(str(ref))
        raise ModelNotFoundError(f"{ref} was removed just now", hint="localrun list")
    if not found.is_own:
        raise UsageError(
            f"{ref} is in a store that is only read", hint="LOCALRUN_EXTRA_MODELS names it"
        )
    remove_ref(store.layout, ref)
    blobs = [found.ref.manifest, *(blob.digest for blob in found.manifest.blobs)]
    return _swept(workspace, found.ref.name, blobs)


def _remove_damaged(workspace: Workspace, ref: ModelRef) -> Removed:
    """Take away a name that can no longer be read, or whose manifest cannot."""
    if not remove_ref(workspace.store.layout, ref):
        raise UsageError(
            f"{ref} is in a store that is only read", hint="LOCALRUN_EXTRA_MODELS names it"
        )
    return _swept(workspace, str(ref), None)


def _swept(workspace: Workspace, name: str, blobs: Iterable[str] | None) -> Removed:
    """Free what only a removed name needed; the name is gone in any case."""
    try:
        swept = collect_garbage(workspace.store, only=blobs)
    except IntegrityError as error:
        return Removed(name=name, freed_bytes=0, problem=error.message)
    return Removed(name=name, freed_bytes=swept.freed_bytes)


def _refuse_file(ref: ModelRef) -> None:
    """Refuse a path in place of a name, whether something is there or not."""
    if ref.source is ModelSource.FILE:
        raise UsageError(
            f"{ref} is a path, not the name of a model",
            hint=f"localrun import {ref}",
        )


def _copy_embedded(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    path = embedded_models()[str(source).lower()]
    return import_path(workspace, path, target, SilentReport(), is_forced=True)[0].name
