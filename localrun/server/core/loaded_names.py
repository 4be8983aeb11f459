"""Names of loaded models, kept in agreement with the names of the store.

Any process may remove, rename or replace a stored model while it is loaded. The commands that do
so notify the server, which checks the store first, because they may have changed another store.
Changes by other programs are found at the next check: by `ps`, and every few seconds while a model
is loaded.

    the name is gone            after `rm` its requests end by an error and its memory is free;
                                else its requests are answered before the memory is freed
    it means another model      requests under way are answered by the old model, new ones by
                                the new one; the old one then leaves, a pin goes to the new one
    it means another recipe     on the same weights: nothing is loaded again
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.names.adapters import is_same_name, names_in, with_name
from localrun.services.runner_models import embedding_model, runner_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.stored_model import ModelIdentity, ModelSummary, StoredModel
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.slots.slot import LoadedName

LOOK_S = 5.0  # between two checks of the store
_log = logging.getLogger(__name__)


class Catalogue(Protocol):
    """The stored models; all methods block. ``localrun.services.models`` implements it."""

    def list_models(self) -> Sequence[ModelSummary]:
        """Return all models, by name."""

    def find_model(self, name: str) -> StoredModel:
        """Return the model of a name, or raise ModelNotFoundError."""

    def identify(self, name: str) -> ModelIdentity:
        """Return the identity of the model that a name means, or raise ModelNotFoundError."""


class LoadedNames:
    """Compares loaded models with the store; has no state, safe from any thread."""

    def __init__(self, pool: RunnerPool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._names = pool.names
        self._catalogue = catalogue

    def settle(self) -> None:
        """Drop the names that are removed or mean other models; does not block."""
        for loaded in self._names.loaded():
            try:
                self._check(loaded)
            except (LocalrunError, OSError) as error:
                _log.debug("the model of %s is not known: %s", loaded.name, error)

    def remove(self, removed: Sequence[str]) -> list[str]:
        """Unload the models of removed names, also as adapters; return the unloaded names.

        Blocks until the memory is free.
        """
        meant = [name for name in self._names.all() if _is_made_of(name, removed)]
        unloaded = [name for name in meant if self._is_gone(name)]
        for name in unloaded:
            self._names.remove(name, ModelNotFoundError(f"model {name!r} was removed"))
            _log.info("%s was removed", name)
        self.settle()
        return unloaded

    def rename(self, source: str, target: str) -> list[str]:
        """Rename the loaded models of a name, also as adapters; return the new names."""
        renamed = []
        for name in self._names.all():
            new = with_name(name, source, target)
            if new != name and self._means_the_same(name, new):
                self._names.rename(name, new)
                renamed.append(new)
        self.settle()
        return renamed

    def start_watch(self) -> None:
        """Check the store every few seconds while a model is loaded, in a thread of its own."""
        threading.Thread(target=self._watch, name="names", daemon=True).start()

    def _watch(self) -> None:
        while self._pool.wait_for_names():
            if not self._pool.wait_for_close(LOOK_S):
                self.settle()

    def _check(self, loaded: LoadedName) -> None:
        identity = self._find(loaded.name)
        if identity is None:
            self._names.drop(loaded)
        elif identity.digest not in {None, loaded.digest}:
            self._check_model(loaded, identity)
        elif identity.name != loaded.name:
            self._names.correct(loaded, identity.name, identity.digest)

    def _check_model(self, loaded: LoadedName, identity: ModelIdentity) -> None:
        """Compare the stored model of a name with the loaded one."""
        model = self._catalogue.find_model(identity.name)
        if model.remote is not None:
            self._names.drop(loaded)
            return
        wanted = runner_model(model)
        if loaded.model in {wanted.shared, embedding_model(model).shared}:
            self._names.correct(loaded, identity.name, identity.digest)
            return
        was_pinned = self._names.drop(loaded)
        if was_pinned:
            _log.info("%s is pinned and was replaced: loading the new model", identity.name)
            self._pool.begin_load(wanted, RequestOptions(pins=True))

    def _is_gone(self, name: str) -> bool:
        try:
            return self._find(name) is None
        except (LocalrunError, OSError) as error:  # it may be there
            _log.warning("the model of %s is not known: %s", name, error)
            return False

    def _find(self, name: str) -> ModelIdentity | None:
        try:
            return self._catalogue.identify(name)
        except ModelNotFoundError:
            return None

    def _means_the_same(self, source: str, target: str) -> bool:
        """Return whether the stored model of ``target`` is loaded as ``source``."""
        identity = self._find(target)
        known = {loaded.digest for loaded in self._names.loaded() if loaded.name == source}
        return identity is not None and (identity.digest in known or not known)


def _is_made_of(name: str, removed: Sequence[str]) -> bool:
    return any(is_same_name(part, one) for part in names_in(name) for one in removed)
