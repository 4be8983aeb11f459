"""Setup of speculative decoding for a loaded model: its draft sources, and the draft model.

Runs on the main thread while the model loads. Owns the memory of the draft model.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.context import LlamaContext
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import LoadOptions
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.speculation.dflash_context import DFlashContext
from localrun.engine.speculation.draft_model import DraftModel, incompatibility
from localrun.engine.speculation.eagle_context import EagleContext
from localrun.engine.speculation.earlier_answers import EarlierAnswers
from localrun.engine.speculation.mtp_context import MtpContext
from localrun.engine.speculation.mtp_layers import MtpLayers
from localrun.engine.speculation.predicted_output import PredictedOutput
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import (
    MAX_DRAFTS,
    DraftSource,
    ForcedTokens,
    Speculator,
)
from localrun.engine.threads import useful_threads
from localrun.errors import LoadError
from localrun.gguf.heads import DFLASH, EAGLE
from localrun.hardware.mtp import MTP_ROLLBACK

if TYPE_CHECKING:
    from localrun.engine.llama.library import NativeLog
    from localrun.engine.threads import ThreadGauge
    from localrun.runner.messages import Load

HEAD_CONTEXTS: dict[str, tuple[type[EagleContext | DFlashContext], str]] = {
    EAGLE: (EagleContext, "EAGLE-3 head"),
    DFLASH: (DFlashContext, "DFlash head"),
}
_log = logging.getLogger(__name__)


def max_drafts(model: Model, load: Load) -> int:
    """Return the draft tokens that a step may verify: 0 if rejected ones cannot be removed."""
    if model.only_embeds:
        return 0
    if model.shares_cells:
        return MAX_DRAFTS
    return min(MAX_DRAFTS, num_rollback(model, load) * load.num_parallel)


def num_rollback(model: Model, load: Load) -> int:
    """Return how many draft tokens the state of a sequence must take back."""
    return MTP_ROLLBACK if load.has_mtp and model.memory.has_state else 0


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
        self._mtp_context: MtpContext | None = None
        self._head_context: EagleContext | DFlashContext | None = None
        self.mtp: MtpLayers | None = None  # which get the hidden states of the model
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
        if load.has_mtp and limits.num_drafts and self.mtp is None:
            self.mtp = self._open_mtp_layers(load, target, limits)
            sources.append(self.mtp)
        max_length = limits.num_rollback or MAX_DRAFTS
        self.speculation = Speculator(sources, max_length=max_length) if limits.num_drafts else None

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
        for opened in (self._mtp_context, self._head_context, self._context, self._model):
            if opened is not None:
                opened.close()

    def _open_mtp_layers(self, load: Load, target: Model, limits: SchedulerLimits) -> MtpLayers:
        self._mtp_context = MtpContext(
            target,
            limits,
            num_threads=useful_threads(target.size_bytes, load.num_threads),
            options=load.options,
            gauge=self._gauge,
        )
        return MtpLayers(self._mtp_context, limits.num_slots)

    def _open_head(
        self, load: Load, target: Model, head: Model, limits: SchedulerLimits
    ) -> MtpLayers:
        self._model = head
        num_threads = useful_threads(head.size_bytes, load.num_threads)
        open_context, name = HEAD_CONTEXTS[head.metadata("general.architecture")]
        self._head_context = open_context(
            head, target, limits, num_threads=num_threads, gauge=self._gauge
        )
        self.mtp = MtpLayers(self._head_context, limits.num_slots, name, is_draft_model=True)
        return self.mtp

    def _open_draft_model(
        self, load: Load, target: Model, limits: SchedulerLimits, native_log: NativeLog
    ) -> list[DraftSource]:
        """Load the draft model; return no source, after a warning, if it does not match.

        Raises:
            LoadError: it does not load, and somebody named it.
        """
        try:
            model = _load_draft_model(load, native_log)
        except LoadError as error:
            if load.requires_draft:
                raise
            _log.warning("the draft model is not used: %s", error.message)
            return []
        reason = incompatibility(target, model)
        if reason is not None:
            _log.warning("the draft model is not used: %s", reason)
            model.close()
            return []
        if model.metadata("general.architecture") in HEAD_CONTEXTS:
            return [self._open_head(load, target, model, limits)]
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


def _load_draft_model(load: Load, native_log: NativeLog) -> Model:
    """Load the draft model whole: on the first card that has layers of the model, or nowhere."""
    has_cards = load.num_gpu_layers != 0 and not load.workers
    devices = load.options.devices
    return load_model(
        [Path(path) for path in load.draft_paths],
        native_log=native_log,
        num_gpu_layers=-1 if has_cards else 0,
        options=LoadOptions(
            devices=None if devices is None else devices[:1], main_gpu=load.options.main_gpu
        ),
        on_progress=lambda _: None,
    )
