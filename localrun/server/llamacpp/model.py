"""Default model of requests without a model name: programs for llama-server know one model only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.core.labels import label_of

if TYPE_CHECKING:
    from localrun.server.core.loaded_names import Catalogue
    from localrun.server.parsing.fields import Fields
    from localrun.supervisor.pool import RunnerPool

MAX_SHOWN = 5  # names in a hint


def meant_model(name: str | None, pool: RunnerPool, catalogue: Catalogue) -> str:
    """Return the named model, or else the only loaded one, or else the only stored one.

    Blocks: it may read the store.

    Raises:
        UsageError: there are several models, or none.
    """
    if name:
        return name
    running = {model.name for model in pool.running()}
    loaded = sorted(running if len(running) == 1 else set(map(label_of, running)))
    if len(loaded) == 1:
        return loaded[0]
    candidates = loaded or [model.name for model in catalogue.list_models()]
    if len(candidates) == 1:
        return candidates[0]
    where = "are loaded" if loaded else "are on this machine and none is loaded"
    names = ", ".join(name.removesuffix(":latest") for name in candidates[:MAX_SHOWN])
    more = ", ..." if len(candidates) > MAX_SHOWN else ""
    raise UsageError(
        f"model is required: {len(candidates)} models {where}",
        hint=f"send model, such as one of {names}{more}" if candidates else "localrun pull NAME",
        param="model",
    )


def with_model(fields: Fields, pool: RunnerPool, catalogue: Catalogue) -> Fields:
    """Return the fields of a request with `meant_model` as its model; blocks.

    Raises:
        UsageError: as `meant_model`.
    """
    return fields.but(model=meant_model(fields.text("model"), pool, catalogue))
