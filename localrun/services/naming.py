"""Give a model another name, or take a name away; the bytes are shared until the last name goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import ModelNotFoundError, UsageError
from localrun.names.ref import Source
from localrun.store.embedded import embedded_models
from localrun.store.manifest import MOST_BYTES
from localrun.store.refs import remove_ref
from localrun.store.store import Provenance
from localrun.store.sweep import sweep

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A name that is gone."""

    name: str
    freed_bytes: int  # of what no other name needs


def copy_model(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    """Let ``target`` mean what ``source`` means now; returns the new name.

    Raises:
        ModelNotFoundError: there is no ``source``.
        UsageError: ``target`` is a URL or a file.
    """
    if target.source in {Source.URL, Source.FILE} or target.digest is not None:
        raise UsageError(f"not a name to give: {target}", hint="localrun cp guide mine")
    store = workspace.store
    found = store.find(source)
    if found is None and str(source) in embedded_models():
        return _copy_embedded(workspace, source, target)
    if found is None:
        workspace.models.find_model(str(source))
        raise UsageError(f"{source} is a file of this machine", hint=f"localrun import {source}")
    ref = found.ref
    with store.lease([ref.manifest, *(blob.digest for blob in found.manifest.blobs)]) as lease:
        if store.find(source) == found:  # so that all of it was leased while it was named
            manifest = store.blobs.read(ref.manifest, most=MOST_BYTES)
            provenance = Provenance(origin=ref.origin, choice=ref.choice, revision=ref.revision)
            return store.name(target, manifest, lease, provenance).name
    return copy_model(workspace, source, target)


def remove_model(workspace: Workspace, ref: ModelRef) -> Removed:
    """Take a name away, and the bytes that no other name needs.

    Raises:
        ModelNotFoundError: no such model.
        UsageError: it is embedded, or in a store that is only read.
    """
    store = workspace.store
    found = store.find(ref)
    if found is None:
        if str(ref) in embedded_models():
            raise UsageError(f"{ref} comes with localrun and cannot be removed")
        workspace.models.find_model(str(ref))
        raise ModelNotFoundError(f"{ref} is a file of this machine", hint=f"rm {ref.location}")
    if not found.is_own:
        raise UsageError(
            f"{ref} is in a store that is only read", hint="LOCALRUN_EXTRA_MODELS names it"
        )
    remove_ref(store.layout, ref)
    blobs = [found.ref.manifest, *(blob.digest for blob in found.manifest.blobs)]
    swept = sweep(store, only=blobs)
    return Removed(name=found.ref.name, freed_bytes=swept.freed_bytes)


def _copy_embedded(workspace: Workspace, source: ModelRef, target: ModelRef) -> str:
    from localrun.services.importing import import_path
    from localrun.services.report import Silence

    path = embedded_models()[str(source)]
    return import_path(workspace, path, target, Silence())[0].name
