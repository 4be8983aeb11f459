"""Registries without TLS: that the user allowed it once stays with the model's name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.store.refs import StoredRef
    from localrun.store.store import Store

HTTP = "http"


def was_allowed(stored: StoredRef) -> bool:
    """Return whether the registry of a name was spoken to by plain http."""
    return stored.scheme == HTTP


def is_allowed_for(store: Store, ref: ModelRef) -> bool:
    """Return whether the user allowed plain HTTP for this name; a shared store cannot."""
    try:
        found = store.find(replace(ref, digest=None))
    except IntegrityError:
        return False
    return found is not None and found.is_own and was_allowed(found.ref)
