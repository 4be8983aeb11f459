"""Which models the server offers: a seam between routes and services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from localrun.services.stored_model import ModelIdentity, StoredModel


class Catalogue(Protocol):
    """All functions block; ``localrun.services.models`` is one."""

    def list_models(self) -> list[StoredModel]:
        """Return all models, by name."""

    def find_model(self, name: str) -> StoredModel:
        """Return the model of a name, or raise ModelNotFoundError."""

    def identify(self, name: str) -> ModelIdentity:
        """Return what a name means now, or raise ModelNotFoundError."""
