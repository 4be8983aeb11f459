"""Advance every running sequence by one step.

The engine knows token ids and the text they spell: no messages, no sockets. All
state changes inside its methods, and only one thread calls them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localrun.engine.params import FinishReason
from localrun.engine.prefill_pace import PrefillPace
from localrun.engine.scheduler import NO_DRAFTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Sequences

    from localrun.engine.scheduler import ScheduledChunk, Scheduler
    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.speculator import Speculator


class OutOfCellsError(Exception):
    """The KV cache has no room for a step; nothing was computed."""


class AbortedError(Exception):
    """A step was broken off; ``num_computed`` of the sequences was set to what is computed.

    Where a state is left half-way, it is as before, and the cache has to put another back.
    """


class Backend(Protocol):
    """What the engine needs from an inference library."""

    def forward(self, rows: list[ScheduledChunk]) -> list[list[int]]:
        """Compute the rows and draw tokens for each whose `ScheduledChunk.is_last`, in order.

        One token, and another one behind each draft that was drawn as it was guessed.

        Raises:
            OutOfCellsError: no room; nothing has changed.
            AbortedError: broken off from another thread.
        """

    def prepare(self, seq: Sequence) -> None:
        """Load what the sequence needs beside cells, such as its adapters.

        Raises:
            LoadError: it cannot be had; the sequence must not be computed.
        """

    def retire(self, seq: Sequence) -> None:
        """Free what belongs to the sequence beside cells, such as its sampler."""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step did for one sequence: new text, and the end if it is over."""

    seq: Sequence
    text: str
    finish: FinishReason | None


class Engine:
    """Run scheduled rows on one backend."""

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler,
        *,
        pieces: Sequences[bytes],
        eog: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
        speculation: Speculator | None = None,
    ) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._pieces = pieces
        self._eog = eog
        self._clock = clock
        self._speculation = speculation
        self._pace = PrefillPace()
        self._open: dict[int, Sequence] = {}
        self._in_flight: dict[int, int] = {}

    @property
    def has_work(self) -> bool:
        """Return whether a step would do anything."""
        return self._scheduler.has_work

    def submit(self, seq: Sequence) -> None:
        """Queue a sequence; its prompt has at least one token and fits the context.

        Raises:
            LoadError: what it needs cannot be loaded; it is not queued.
        """
        self._backend.prepare(seq)
        seq.submitted_at = seq.submitted_at or self._clock()
        self._open[seq.request_id] = seq
        self._scheduler.add(seq)

    def cancel(self, request_id: int) -> StepOutput | None:
        """End a request at once; None when it has ended already."""
        seq = self._open.get(request_id)
        return self._end(seq, FinishReason.CANCELLED, "") if seq else None

    def serves_mostly(self, request_ids: set[int]) -> bool:
        """Return whether the step that runs is for the most part theirs; safe from any thread."""
        counts = self._in_flight
        return 2 * sum(counts.get(number, 0) for number in request_ids) > sum(counts.values())

    def step(self) -> list[StepOutput]:
        """Run one forward pass and return what it did, one output a sequence that moved."""
        for seq in self._scheduler.admit():
            if not seq.admitted_at:
                seq.admitted_at, seq.num_cached = self._clock(), seq.num_computed
        rows = self._scheduler.plan(self._pace.prompt_tokens, self._drafts())
        if not rows:
            return self._end_alone()
        try:
            runs = self._forward(rows)
        except OutOfCellsError:
            return [] if self._scheduler.preempt_youngest() else self._end_alone()
        except AbortedError:
            self._scheduler.broken_off(rows)
            return []
        last = [row for row in rows if row.is_last]
        for row in rows:
            self._scheduler.computed(row)
        return [self._accept_run(row, run) for row, run in zip(last, runs, strict=True)]

    def _drafts(self) -> Mapping[Sequence, tuple[int, ...]]:
        """Return guesses of how the sequences that decode go on."""
        if self._speculation is None:
            return NO_DRAFTS
        return self._speculation.propose(self._scheduler.next_decoding)

    def _forward(self, rows: list[ScheduledChunk]) -> list[list[int]]:
        """Run the backend, and learn how long it takes."""
        self._in_flight = {row.seq.request_id: row.count for row in rows}
        num_decoding = sum(row.seq.is_decoding for row in rows)
        num_prompt = sum(row.count for row in rows) - num_decoding
        begun = self._clock()
        try:
            runs = self._backend.forward(rows)
        finally:
            self._in_flight = {}
            seconds = self._clock() - begun
            self._scheduler.took(seconds)
        self._learn(rows, num_prompt, seconds)
        if self._speculation is not None:
            self._speculation.note(rows, runs, seconds)
        return runs

    def _learn(self, rows: list[ScheduledChunk], num_prompt: int, seconds: float) -> None:
        """Note the time of a step without guesses, which are no part of the normal pace."""
        num_decoding = sum(row.seq.is_decoding for row in rows)
        if any(row.drafts for row in rows):
            return
        if not num_decoding and any(seq.is_decoding for seq in self._scheduler.running):
            self._pace.note_prompt(num_prompt, seconds)
        else:
            self._pace.note(num_decoding, num_prompt, seconds)

    def _accept_run(self, row: ScheduledChunk, run: list[int]) -> StepOutput:
        """Take the tokens of a row up to the end of its sequence."""
        seq = row.seq
        seq.num_drafted += len(row.drafts)
        output = self._accept(seq, run[0])
        text = output.text
        for token in run[1:]:
            if seq.finish is not None:
                break
            seq.num_computed += 1  # the draft before it, which was right
            seq.num_accepted += 1
            output = self._accept(seq, token)
            text += output.text
        if row.drafts and seq.slot is not None:
            self._scheduler.reject(seq)
        return StepOutput(seq, text, output.finish)

    def _accept(self, seq: Sequence, token: int) -> StepOutput:
        seq.first_token_at = seq.first_token_at or self._clock()
        if seq.is_prompt_only:
            return self._end(seq, FinishReason.LENGTH, seq.text.flush())
        seq.tokens.append(token)
        if token in self._eog:
            return self._end(seq, FinishReason.STOP, seq.text.flush())
        text = seq.push(self._pieces[token])
        if seq.text.is_stopped:
            return self._end(seq, FinishReason.STOP, text)
        if seq.is_at_limit:
            return self._end(seq, FinishReason.LENGTH, text + seq.text.flush())
        if seq.shift is not None and seq.shift.is_due(seq):
            self._scheduler.send_back(seq)
            seq.shift.apply(seq)
        return StepOutput(seq, text, None)

    def _end(self, seq: Sequence, reason: FinishReason, text: str) -> StepOutput:
        seq.finish = reason
        del self._open[seq.request_id]
        self._scheduler.remove(seq)
        self._backend.retire(seq)
        if self._speculation is not None:
            self._speculation.retire(seq)
        return StepOutput(seq, text, reason)

    def _end_alone(self) -> list[StepOutput]:
        """End the only sequence that runs, which has used the whole cache."""
        return [
            self._end(seq, FinishReason.LENGTH, seq.text.flush()) for seq in self._scheduler.running
        ]
