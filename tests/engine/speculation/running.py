"""Requests on a real model, with drafts whether they save time or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.speculation.speculator import DraftSource, Speculator, max_draft_length

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from localrun.engine.context import LlamaContext
    from localrun.engine.sequence import Sequence

native_log = start()


def loaded(path: Path, *, has_mtp: bool = False) -> Model:
    return load_model(
        [path],
        native_log=native_log,
        num_gpu_layers=0,
        has_mtp=has_mtp,
        on_progress=lambda _: None,
    )


def drafts_of(
    source: DraftSource, sequences: Iterable[Sequence], length: int
) -> dict[Sequence, tuple[int, ...]]:
    """Return drafts of a length, or shorter ones, for all sequences for which there are any."""
    lengths = {
        seq: num_drafts
        for seq in sequences
        if (num_drafts := min(length, max_draft_length(seq))) > 0
        and source.acceptance(seq) is not None
    }
    return source.drafts(lengths) if lengths else {}


def generate(
    model: Model,
    context: LlamaContext,
    limits: SchedulerLimits,
    sequences: Iterable[Sequence],
    *,
    speculation: Speculator | None = None,
    eog: AbstractSet[int] = frozenset(),
) -> None:
    """Run sequences together to their ends, without a token that ends them unless one is given."""
    cache = context.open_cache()
    engine = Engine(
        context, Scheduler(limits, cache), pieces=model.pieces, eog=eog, speculation=speculation
    )
    for seq in sequences:
        engine.submit(seq)
    while engine.has_work:
        engine.step()
    cache.clear()
    assert cache.num_used_cells == 0
