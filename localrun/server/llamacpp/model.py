"""The model of a request that may name none: programs of llama-server know one model only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.core.labels import label_of

if TYPE_CHECKING:
    from localrun.server.core.catalogue import Catalogue
    from localrun.server.parsing.fields import Fields
    from localrun.supervisor.pool import RunnerPool

MOST_SHOWN = 5  # names in a hint


def meant_model(name: str | None, pool: RunnerPool, catalogue: Catalogue) -> str:
    """Return the model that a request names, or else the only one that is loaded, or here.

    Blocks: it may read the store.

    Raises:
        UsageError: there are several, or none.
    """
    if name:
        return name
    running = {model.name for model in pool.running()}
    loaded = sorted(running if len(running) == 1 else set(map(label_of, running)))
    if len(loaded) == 1:
        return loaded[0]
    here = loaded or [model.name for model in catalogue.list_models()]
    if len(here) == 1:
        return here[0]
    where = "are loaded" if loaded else "are on this machine and none is loaded"
    names = ", ".join(one.removesuffix(":latest") for one in here[:MOST_SHOWN])
    more = ", ..." if len(here) > MOST_SHOWN else ""
    raise UsageError(
        f"model is required: {len(here)} models {where}",
        hint=f"send model, such as one of {names}{more}" if here else "localrun pull NAME",
        param="model",
    )


def with_model(fields: Fields, pool: RunnerPool, catalogue: Catalogue) -> Fields:
    """Return the fields of a request with the model that it means; blocks.

    Raises:
        UsageError: as `meant_model`.
    """
    return fields.but(model=meant_model(fields.text("model"), pool, catalogue))
