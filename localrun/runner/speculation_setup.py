"""Setup of speculative decoding for a loaded model: its draft sources, and the draft model.

Runs on the main thread while the model loads. Owns the memory of the draft model.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.context import LlamaContext
from localrun.engine.llama.model import Model, load_model
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.speculation.draft_model import DraftModel, incompatibility
from localrun.engine.speculation.earlier_answers import EarlierAnswers
from localrun.engine.speculation.predicted_output import PredictedOutput
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import (
    MAX_DRAFTS,
    DraftSource,
    ForcedTokens,
    Speculator,
)
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from localrun.engine.llama.library import NativeLog
    from localrun.engine.threads import ThreadGauge
    from localrun.runner.messages import Load

_log = logging.getLogger(__name__)


def max_drafts(model: Model) -> int:
    """Return the draft tokens that a step may verify: 0 if rejected ones cannot be removed."""
    return MAX_DRAFTS if model.shares_cells and not model.only_embeds else 0


class SpeculationSetup:
    """Draft sources of one model, and the draft model if the server named one.

    Raises:
        LoadError: the draft model's file is damaged, or there is no memory for it.
    """

    def __init__(
        self,
        load: Load,
        target: Model,
        limits: SchedulerLimits,
        native_log: NativeLog,
        gauge: ThreadGauge | None,
    ) -> None:
        self._gauge = gauge
        self._model: Model | None = None
        self._context: LlamaContext | None = None
        sources: list[DraftSource] = [
            ForcedTokens(),
            PredictedOutput(),
            PromptLookup(),
            EarlierAnswers(),
        ]
        if load.draft_paths and not limits.num_drafts:
            _log.warning("the draft model is not used: this model cannot take tokens back")
        elif load.draft_paths:
            sources += self._open_draft_model(load, target, limits, native_log)
        self.speculation = Speculator(sources) if limits.num_drafts else None

    @property
    def source_names(self) -> tuple[str, ...]:
        """Return the names of the draft sources, none without speculative decoding."""
        return self.speculation.source_names if self.speculation else ()

    @property
    def has_draft_model(self) -> bool:
        """Return whether a draft model is loaded."""
        return self._model is not None

    def close(self) -> None:
        """Free the draft model."""
        if self._context is not None:
            self._context.close()
        if self._model is not None:
            self._model.close()

    def _open_draft_model(
        self, load: Load, target: Model, limits: SchedulerLimits, native_log: NativeLog
    ) -> list[DraftSource]:
        """Load the draft model; return no source, after a warning, if it does not match."""
        model = load_model(
            [Path(path) for path in load.draft_paths],
            native_log=native_log,
            num_gpu_layers=load.num_gpu_layers,
            on_progress=lambda _: None,
        )
        reason = incompatibility(target, model)
        if reason is not None:
            _log.warning("the draft model is not used: %s", reason)
            model.close()
            return []
        draft_limits = SchedulerLimits(
            num_slots=limits.num_slots, num_cells=limits.num_cells, step_tokens=limits.step_tokens
        )
        num_threads = useful_threads(model.size_bytes, load.num_threads)
        self._model = model
        self._context = LlamaContext(
            model, draft_limits, num_threads=num_threads, gauge=self._gauge
        )
        cache = self._context.open_cache()
        return [
            DraftModel(self._context, cache, draft_limits.step_tokens, num_vocab=model.num_vocab)
        ]
