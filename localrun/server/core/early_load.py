"""Early load of the model that the command which started this server is about to request.

It begins while the server still imports its HTTP stack, and the request then finds the load under
way. Nothing depends on it: an early load that fails is forgotten, since the request repeats it and
reports the error; one that no request joins within `PATIENCE_S` is broken off, or its model is
unloaded, so that a command that was interrupted leaves nothing loaded.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Event
    from localrun.server.core.completions import WithDraft
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.pool import RunnerPool

PATIENCE_S = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyLoad:
    """A model to load at the start of a server; ``name`` may be any text."""

    name: str
    num_ctx: int | None = None  # as in the request that follows
    draft: str | None = None
    is_kept: bool = False  # see `preload.py`


def begin_early_load(
    early: EarlyLoad,
    open_pool: Callable[[], RunnerPool],
    find_model: Callable[[str], StoredModel],
    with_draft: WithDraft | None = None,
) -> None:
    """Submit the load of a model; does not wait for it.

    ``with_draft`` adds the draft model that the request will name.
    Imports what a load needs: a server without an early load answers before it imports that.
    """
    from localrun.services.capabilities import check_can_answer
    from localrun.services.runner_models import runner_model
    from localrun.supervisor.model import KeepAlive, RequestOptions

    options = RequestOptions(num_ctx=early.num_ctx, keep_alive=KeepAlive(PATIENCE_S))
    try:
        model = find_model(early.name)
        check_can_answer(model)
        if model.remote is not None:
            return
        order = runner_model(model)
        if with_draft is not None:
            order = with_draft(order, early.draft)
        load = open_pool().submit_load(order, _forget, options)
    except Exception as error:  # noqa: BLE001 - whatever the name is, the server starts
        _log.debug("no early load of %s: %s", early.name, error)
        return
    timer = threading.Timer(PATIENCE_S, load.cancel)
    timer.daemon = True
    timer.start()


def _forget(event: Event) -> None:
    _log.debug("the early load has ended: %s", event)
