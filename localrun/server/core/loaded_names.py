"""The names of loaded models, in agreement with the names of the store.

Any process may remove, rename or replace a model of the store while it is loaded here. The
commands that do so tell the server, which looks at the store before it believes them: they
may have worked on another one. What other programs did is noticed at the next look, which
`ps` takes, and the server by itself every few seconds.

    the name is gone            after `rm` its requests end by an error and its memory is free;
                                else its requests are answered before the memory is freed
    it means another model      requests under way are answered by the old model, new ones by
                                the new one; the old one then leaves, a pin goes to the new one
    it means another recipe     on the same weights: nothing is loaded again
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.names.adapters import is_same_name, names_in, with_name
from localrun.services.runner_models import embedding_model, runner_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.server.core.catalogue import Catalogue
    from localrun.services.stored_model import ModelIdentity
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.slot import LoadedName

LOOK_S = 5.0  # between two looks at the store
_log = logging.getLogger(__name__)


class LoadedNames:
    """Compares what is loaded with the store; has no state, and any thread may use it."""

    def __init__(self, pool: RunnerPool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._names = pool.names
        self._catalogue = catalogue

    def settle(self) -> None:
        """Let go of the names that are gone or mean other models; does not wait for that."""
        for loaded in self._names.loaded():
            try:
                self._check(loaded)
            except (LocalrunError, OSError) as error:
                _log.debug("what %s means is not known: %s", loaded.name, error)

    def remove(self, removed: Sequence[str]) -> list[str]:
        """End what is loaded under removed names, or with adapters of theirs; return its names.

        Blocks until the memory is free.
        """
        meant = [name for name in self._names.all() if _is_made_of(name, removed)]
        gone = [name for name in meant if self._is_gone(name)]
        for name in gone:
            self._names.remove(name, ModelNotFoundError(f"model {name!r} was removed"))
            _log.info("%s was removed", name)
        self.settle()
        return gone

    def rename(self, source: str, target: str) -> list[str]:
        """Carry what is loaded under a name along to another name of the same model.

        Returns the new names.
        """
        carried = []
        for name in self._names.all():
            new = with_name(name, source, target)
            if new != name and self._means_the_same(name, new):
                self._names.rename(name, new)
                carried.append(new)
        self.settle()
        return carried

    async def watch_loop(self) -> None:
        """Look at the store every few seconds."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.settle)

    def _check(self, loaded: LoadedName) -> None:
        identity = self._find(loaded.name)
        if identity is None:
            self._names.drop(loaded)
        elif identity.digest not in {None, loaded.digest}:
            self._check_model(loaded, identity)
        elif identity.name != loaded.name:
            self._names.correct(loaded, identity.name, identity.digest)

    def _check_model(self, loaded: LoadedName, identity: ModelIdentity) -> None:
        """Compare the model that a name means now with the one that is loaded."""
        model = self._catalogue.find_model(identity.name)
        wanted = runner_model(model)
        if loaded.model in {wanted.shared, embedding_model(model).shared}:
            self._names.correct(loaded, identity.name, identity.digest)
            return
        was_pinned = self._names.drop(loaded)
        if was_pinned:
            _log.info("%s is pinned and means another model: loading that", identity.name)
            self._pool.begin_load(wanted, RequestOptions(pins=True))

    def _is_gone(self, name: str) -> bool:
        try:
            return self._find(name) is None
        except (LocalrunError, OSError) as error:  # it may be there
            _log.warning("what %s means is not known: %s", name, error)
            return False

    def _find(self, name: str) -> ModelIdentity | None:
        try:
            return self._catalogue.identify(name)
        except ModelNotFoundError:
            return None

    def _means_the_same(self, source: str, target: str) -> bool:
        """Return whether what was loaded as ``source`` is what ``target`` means now."""
        identity = self._find(target)
        known = {loaded.digest for loaded in self._names.loaded() if loaded.name == source}
        return identity is not None and (identity.digest in known or not known)


def _is_made_of(name: str, removed: Sequence[str]) -> bool:
    return any(is_same_name(part, one) for part in names_in(name) for one in removed)
