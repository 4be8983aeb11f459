"""Loads that a client asks for by themselves: wait for one, tell how far it is, pin a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.framing import ndjson_line
from localrun.supervisor.status import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.parsing.fields import JsonObject
    from localrun.supervisor.pool import RunnerPool

SIGNS_HEADER = "x-localrun-progress"  # of a client that knows what signs of a load are


def load_signs(pool: RunnerPool, name: str) -> Callable[[], bytes]:
    """Return what tells a line of how far the load of a model is, nothing when it is not one."""

    def sign() -> bytes:
        status = load_status(pool, name)
        return ndjson_line(status) if status else b""

    return sign


def load_status(pool: RunnerPool, name: str) -> JsonObject | None:
    """Return how far the load of a model is, None where it is not being loaded."""
    names = {name, f"{name}:latest"}
    for row in pool.states():
        if row.name in names and row.state in {ModelState.STARTING, ModelState.LOADING}:
            return {"status": row.state.value, "progress": round(row.progress, 3), "done": False}
    return None
