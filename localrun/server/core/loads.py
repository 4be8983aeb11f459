"""Progress of loads, for clients that show it while they wait.

A module of its own because two APIs use it and the core does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.framing import ndjson_line
from localrun.supervisor.status import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import JsonObject
    from localrun.supervisor.pool import RunnerPool

SIGNS_HEADER = "x-localrun-progress"  # sent by clients that parse lines of progress


def load_signs(pool: RunnerPool, name: str) -> Callable[[], bytes]:
    """Return a function that returns a line of a load's progress, or b"" if none is under way."""

    def sign() -> bytes:
        status = load_status(pool, name)
        return ndjson_line(status) if status else b""

    return sign


def load_status(pool: RunnerPool, name: str) -> JsonObject | None:
    """Return the progress of a model's load, or None if the model is not being loaded."""
    names = {name, f"{name}:latest"}
    for row in pool.states():
        if row.name in names and row.state in {ModelState.STARTING, ModelState.LOADING}:
            return {"status": row.state.value, "progress": round(row.progress, 3), "done": False}
    return None
