"""Engine: advances every running sequence by one step.

The engine knows token ids and their text, but no messages and no sockets. All state changes
happen inside its methods, which only one thread calls, except `Engine.serves_mostly`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from localrun.engine.pacing.prompt_pacing import PromptPacing
from localrun.engine.params import FinishReason
from localrun.engine.scheduler import NO_DRAFTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Sequences
    from collections.abc import Set as AbstractSet

    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.scheduler import ScheduledChunk, Scheduler
    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.speculator import Speculator


def _never() -> bool:
    return False


class OutOfCellsError(Exception):
    """The KV cache has no room for a step; nothing was computed."""


class AbortedError(Exception):
    """A step was aborted; ``num_computed`` of its sequences counts the valid cells.

    For models with a state it is unchanged, and the cache must restore a checkpoint.
    """


class Backend(Protocol):
    """Inference library, as the engine uses it."""

    def forward(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        """Compute the chunks and sample for each with `ScheduledChunk.is_last`, in order.

        Return one token for each of these, and one more for each accepted draft token.

        Raises:
            OutOfCellsError: no room; nothing has changed.
            AbortedError: aborted by another thread.
        """

    def prepare(self, seq: Sequence) -> None:
        """Load what the sequence needs besides cells, such as its adapters.

        Raises:
            LoadError: loading failed; the sequence must not be computed.
        """

    def retire(self, seq: Sequence) -> None:
        """Free what belongs to the sequence besides cells, such as its sampler."""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """New text of one sequence in a step, and the finish reason if it ended."""

    seq: Sequence
    text: str
    finish: FinishReason | None


class Engine:
    """Loop over schedule, forward pass and output, on one backend."""

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler,
        *,
        pieces: Sequences[bytes],
        eog: AbstractSet[int],
        clock: Callable[[], float] = time.monotonic,
        speculation: Speculator | None = None,
    ) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._pieces = pieces
        self._eog = eog
        self._clock = clock
        self._speculation = speculation
        self._pacing = PromptPacing(scheduler.call_tokens)
        self._sequences: dict[int, Sequence] = {}  # unfinished, by request id
        self._in_flight: dict[int, int] = {}  # tokens in the running step, by request id

    @property
    def has_work(self) -> bool:
        """Return whether any sequence waits or runs."""
        return self._scheduler.has_work

    @property
    def only_decodes(self) -> bool:
        """Return whether all that is to be done is to decode: no prompts, and nothing waits."""
        return self._scheduler.only_decodes

    def submit(self, seq: Sequence) -> None:
        """Queue a sequence whose prompt has at least one token and fits the context.

        Raises:
            LoadError: its adapters cannot be loaded; it is not queued.
        """
        self._backend.prepare(seq)
        seq.submitted_at = seq.submitted_at or self._clock()
        self._sequences[seq.request_id] = seq
        self._scheduler.add(seq)

    def cancel(self, request_id: int) -> StepOutput | None:
        """Finish a request at once; return None if it has already finished."""
        seq = self._sequences.get(request_id)
        return self._finish(seq, FinishReason.CANCELLED, "") if seq else None

    def next_medium(self) -> MediaChunk | None:
        """Return the medium that must be encoded next for a running sequence, or None."""
        return self._scheduler.next_medium()

    def needs(self, chunk: MediaChunk) -> bool:
        """Return whether a sequence still needs the embeddings of a medium."""
        return self._scheduler.needs(chunk)

    def serves_mostly(self, request_ids: set[int]) -> bool:
        """Return whether most tokens of the running step are theirs; safe from any thread."""
        counts = self._in_flight
        return 2 * sum(counts.get(number, 0) for number in request_ids) > sum(counts.values())

    def step(self, may_repeat: Callable[[], bool] = _never) -> list[StepOutput]:
        """Plan and compute a step; return an output for each token of each sequence that advanced.

        While all sequences decode and ``may_repeat`` returns True, its chunks are computed again
        without a plan, which takes a tenth of a step of a small model.
        """
        for seq in self._scheduler.admit():
            if not seq.admitted_at:
                seq.admitted_at, seq.num_cached = self._clock(), seq.num_computed
        pace = partial(self._pacing.num_prompt_tokens, self._clock())
        chunks = self._scheduler.schedule(pace, self._propose_drafts)
        if not chunks:
            return [] if self._scheduler.awaits_encode else self._finish_running()
        try:
            outputs = self._compute(chunks)
        except OutOfCellsError:
            return [] if self._scheduler.preempt_youngest() else self._finish_running()
        except AbortedError:
            self._scheduler.recover(chunks)
            return []
        with suppress(OutOfCellsError):  # the next step makes room
            while may_repeat() and self._can_repeat(chunks):
                outputs += self._compute_again(chunks)
        return outputs

    def _compute(self, chunks: list[ScheduledChunk]) -> list[StepOutput]:
        sampled = self._forward(chunks)
        last = [chunk for chunk in chunks if chunk.is_last]
        for chunk in chunks:
            self._scheduler.mark_computed(chunk)
        return [
            self._accept_all(chunk, tokens) for chunk, tokens in zip(last, sampled, strict=True)
        ]

    def _compute_again(self, chunks: list[ScheduledChunk]) -> list[StepOutput]:
        try:
            return self._compute(chunks)
        except AbortedError:
            self._scheduler.recover(chunks)
            return []

    def _can_repeat(self, chunks: list[ScheduledChunk]) -> bool:
        """Return whether the next plan would have the same chunks, and reserve their cells."""
        if not self._scheduler.can_repeat(chunks):
            return False
        speculation = self._speculation
        if speculation is not None and not speculation.passes([chunk.seq for chunk in chunks]):
            return False
        return self._scheduler.reserve(chunks)

    def _propose_drafts(self, decoding: list[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        """Return draft tokens by sequence, for a step in the present layout of the cells."""
        if self._speculation is None:
            return NO_DRAFTS
        self._speculation.enter_layout(self._scheduler.layout)
        return self._speculation.propose(decoding)

    def _forward(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        """Run the backend, and record the time of the step."""
        self._in_flight = {chunk.seq.request_id: chunk.num_tokens for chunk in chunks}
        started_at = self._clock()
        try:
            sampled = self._backend.forward(chunks)
        finally:
            self._in_flight = {}
            seconds = self._clock() - started_at
            self._scheduler.record_step_time(seconds)
        self._record_pace(chunks, seconds)
        if self._speculation is not None:
            self._speculation.record_step(chunks, sampled, seconds)
        return sampled

    def _record_pace(self, chunks: list[ScheduledChunk], seconds: float) -> None:
        num_decoding = sum(chunk.seq.is_decoding for chunk in chunks)
        num_prompt = sum(chunk.num_tokens for chunk in chunks) - num_decoding
        has_drafts = any(chunk.drafts for chunk in chunks)
        self._pacing.record(num_decoding, num_prompt, seconds, has_drafts=has_drafts)

    def _accept_all(self, chunk: ScheduledChunk, tokens: list[int]) -> StepOutput:
        """Append the sampled tokens of a chunk, up to the end of its sequence."""
        seq = chunk.seq
        seq.num_drafted += len(chunk.drafts)
        output = self._accept(seq, tokens[0])
        text = output.text
        for token in tokens[1:]:
            if seq.finish is not None:
                break
            seq.num_computed += 1  # the accepted draft token before it
            seq.num_accepted += 1
            output = self._accept(seq, token)
            text += output.text
        if chunk.drafts and seq.slot is not None:
            self._scheduler.reject_drafts(seq)
        return StepOutput(seq, text, output.finish)

    def _accept(self, seq: Sequence, token: int) -> StepOutput:
        seq.first_token_at = seq.first_token_at or self._clock()
        if seq.reader is not None:
            seq.reader.receive(self._clock())
        if seq.is_prompt_only:
            return self._finish(seq, FinishReason.LENGTH, seq.text.flush())
        seq.tokens.append(token)
        if token in self._eog:
            return self._finish(seq, FinishReason.STOP, seq.text.flush())
        text = seq.push(self._pieces[token])
        if seq.text.is_stopped:
            return self._finish(seq, FinishReason.STOP, text)
        if seq.is_at_limit:
            return self._finish(seq, FinishReason.LENGTH, text + seq.text.flush())
        if seq.shift is not None and seq.shift.is_due(len(seq.tokens)):
            self._scheduler.preempt(seq)
            seq.shift_context(seq.shift)
        return StepOutput(seq, text, None)

    def _finish(self, seq: Sequence, reason: FinishReason, text: str) -> StepOutput:
        seq.finish = reason
        del self._sequences[seq.request_id]
        self._scheduler.remove(seq)
        self._backend.retire(seq)
        if self._speculation is not None:
            self._speculation.retire(seq)
        return StepOutput(seq, text, reason)

    def _finish_running(self) -> list[StepOutput]:
        """Finish the only running sequence, which has used the whole cache."""
        return [
            self._finish(seq, FinishReason.LENGTH, seq.text.flush())
            for seq in self._scheduler.running
        ]
