"""Pull results without network: models that are complete in the store or embedded."""

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
    """Return a model as the result of a pull without work, or None unless it is complete."""
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
    """Return an embedded model as the result of a pull without work, or None for others."""
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
