"""Model that a server loads at its start and keeps: ``serve --load MODEL``.

The server is not ready (``/readyz``) before the model is loaded, so that a load balancer sends no
request that would wait for it. A load that fails is logged, and the server stays unready.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.runner.messages import Failed, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Event
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.pool import RunnerPool

_log = logging.getLogger(__name__)


class Preload:
    """The load of one model; its events come from a thread of the pool."""

    def __init__(self, model: StoredModel) -> None:
        """Take a model that can be loaded.

        Raises:
            LocalrunError: it cannot, whatever the memory.
        """
        from localrun.services.capabilities import check_is_model

        check_is_model(model)
        self._model = model
        self.status = "loading" if model.remote is None else "ready"  # or "failed"

    @property
    def is_ready(self) -> bool:
        """Return whether the model was loaded."""
        return self.status == "ready"

    def begin(self, open_pool: Callable[[], RunnerPool]) -> None:
        """Submit the load and return; the model stays until it is stopped."""
        from localrun.services.runner_models import embedding_model, runner_model
        from localrun.supervisor.model import RequestOptions

        if self.is_ready:
            return
        embeds = "embedding" in self._model.details.capabilities
        order = (embedding_model if embeds else runner_model)(self._model)
        open_pool().submit_load(order, self._take, RequestOptions(pins=True))

    def _take(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.status = "failed"
            _log.error("%s is not loaded: %s", self._model.name, event.message)
        elif isinstance(event, Terminal):
            self.status = "ready"
            _log.info("%s is loaded", self._model.name)
