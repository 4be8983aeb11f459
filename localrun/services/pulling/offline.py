"""What can be said of a model without asking where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.services.pulling.pull import Pulled
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace
    from localrun.store.store import Store


def complete_here(store: Store, ref: ModelRef) -> Pulled | None:
    """Return a model as a pull that had nothing to do, None unless all its files are here."""
    try:
        entry = store.find(ref)
    except IntegrityError:
        return None
    if entry is None:
        return None
    blobs = entry.manifest.blobs
    if not all(store.blobs.find(blob.digest, blob.size_bytes) for blob in blobs):
        return None
    return Pulled(
        name=entry.ref.name,
        manifest=entry.ref.manifest,
        size_bytes=sum(blob.size_bytes for blob in blobs),
        fetched_bytes=0,
        is_changed=False,
    )


def embedded_here(workspace: Workspace, ref: ModelRef) -> Pulled | None:
    """Return a model that comes with localrun as a pull that had nothing to do, None for others."""
    if str(ref).lower() not in embedded_models() or workspace.store.find(ref) is not None:
        return None
    model = workspace.models.find_model(str(ref))
    return Pulled(
        name=model.name,
        manifest=model.digest,
        size_bytes=model.size_bytes,
        fetched_bytes=0,
        is_changed=False,
    )
