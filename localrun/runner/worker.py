"""The engine's thread: takes commands from a queue, steps, reports.

The only thread of a runner that calls llama.cpp (but for tokenizing, which reads
the vocabulary, and the abort flag). Commands are plain objects put by the reader
of the socket; everything that a step did leaves in one `Step` frame.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from localrun.engine.embedder import Embedder, EmbeddingJob
from localrun.engine.engine import StepOutput
from localrun.engine.params import FinishReason
from localrun.errors import BackendError, LoadError, UsageError
from localrun.runner.embedding import job_event
from localrun.runner.messages import Count, Counts, Event, Failed, Finished, MemoryChanged, Step
from localrun.runner.prompt_saver import RestoredPrefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.context import LlamaContext
    from localrun.engine.embedder import PoolingBackend
    from localrun.engine.engine import Engine
    from localrun.engine.params import Pooling
    from localrun.engine.sequence import Sequence
    from localrun.runner.prompt_saver import PromptSaver
    from localrun.runner.stats import StatsReporter

TIDY_PAUSE_S = 0.02  # between two pieces: what comes meanwhile waits for no more than one


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """End this request."""

    request_id: int


@dataclass(frozen=True, slots=True)
class StopCommand:
    """Leave the loop."""


class NullEngine:
    """Stands for engine and context of a model that writes nothing."""

    has_work = False
    adapter_bytes = 0

    def submit(self, seq: Sequence) -> None:
        """Take nothing: such requests are refused before."""
        raise ValueError(f"request {seq.request_id} cannot be answered")

    def cancel(self, _request_id: int) -> None:
        """Find nothing to cancel."""

    def serves_mostly(self, _request_ids: set[int]) -> bool:
        """Serve nobody."""
        return False

    def step(self) -> list[StepOutput]:
        """Do nothing."""
        return []

    def abort(self) -> None:
        """Have nothing to break off."""

    def clear_abort(self) -> None:
        """Have nothing to forget."""

    def close(self) -> None:
        """Have nothing to free."""


Command = Union["Sequence", EmbeddingJob, RestoredPrefix, Count, CancelCommand, StopCommand]


class Worker:
    """Owns engine and context; `run` is the thread's body."""

    def __init__(
        self,
        engine: Engine | NullEngine,
        context: LlamaContext | NullEngine,
        send: Callable[[Event], None],
        embedder: Embedder | None = None,
    ) -> None:
        self._engine = engine
        self._context = context
        self._send = send
        self._embedder = embedder or Embedder(_refuse)
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._keeper: PromptSaver | None = None
        self._take_census: Callable[[Count, int], Counts] | None = None
        self._busyness: StatsReporter | None = None
        self._tidy: Callable[[], bool] = lambda: False
        self._flag_lock = threading.Lock()  # a command and its abort come together
        self._open: set[int] = set()
        self._cancelled: set[int] = set()
        self._adapter_bytes = 0
        self.num_steps = 0  # so far, as a sign of life
        self.num_tokens = 0  # generated so far
        self._counted: dict[int, int] = {}  # of these, by open request

    @property
    def has_work(self) -> bool:
        """Return whether steps are to be made; safe from any thread."""
        return self._engine.has_work or self._embedder.has_work

    def keep_prompts(self, make: Callable[[Callable[[RestoredPrefix], None]], PromptSaver]) -> None:
        """Save computed prompts and bring them back; called before `run`."""
        self._keeper = make(self._commands.put)

    def count_with(self, take_census: Callable[[Count, int], Counts]) -> None:
        """Answer `Count` by this; called before `run`."""
        self._take_census = take_census

    def tidy_with(self, tidy: Callable[[], bool]) -> None:
        """Call this while nothing is to be done, until it returns False; called before `run`."""
        self._tidy = tidy

    def count(self, request: Count) -> None:
        """Queue a count; safe from any thread."""
        self._commands.put(request)

    def tell_busyness(self, busyness: StatsReporter) -> None:
        """Tell how busy the engine is; called before `run`."""
        self._busyness = busyness

    def submit(self, work: Sequence | EmbeddingJob) -> None:
        """Queue what a request asks; safe from any thread."""
        self._open.add(work.request_id)
        self._commands.put(work)

    def cancel(self, request_id: int) -> None:
        """Queue the end of a request; breaks the running step off when it is mostly for it."""
        self._cancelled.add(request_id)
        with self._flag_lock:
            self._commands.put(CancelCommand(request_id))
            if self._engine.serves_mostly(set(self._cancelled)):
                self._context.abort()
            self._embedder.abort_for(set(self._cancelled))

    def stop(self) -> None:
        """Let `run` return at once."""
        with self._flag_lock:
            self._commands.put(StopCommand())
            self._context.abort()
            self._embedder.abort()

    def close(self) -> None:
        """End what is open, for nobody listens any more, and save prompts; after `run`."""
        if self._keeper is not None:
            for output in map(self._engine.cancel, tuple(self._open)):
                if output is not None:
                    self._keeper.note(output.seq)
            self._keeper.close()

    def run(self) -> None:
        """Serve until `stop`; a broken context ends every open request and the loop."""
        try:
            while self._take_commands():
                self.num_steps += 1
                if self._engine.has_work:
                    self._report(self._engine.step())
                if self._embedder.has_work:
                    jobs = self._embedder.step(is_alone=not self._engine.has_work)
                    self._report_jobs(jobs)
                if self._busyness is not None:
                    self._busyness.tell(is_idle=not self._engine.has_work)
        except BackendError as error:
            for request_id in sorted(self._open):
                self._send(Failed(request_id=request_id, code=error.code, message=error.message))
            raise

    def _take_commands(self) -> bool:
        """Obey all commands that wait, or wait for one when there is nothing to do; False ends."""
        is_idle = not self._engine.has_work and not self._embedder.has_work
        if is_idle and not self._obey(self._next_command()):
            return False
        with self._flag_lock:
            self._context.clear_abort()  # whoever set it has put a command
            self._embedder.clear_abort()
            return self._obey_waiting()

    def _next_command(self) -> Command:
        may_tidy = self._keeper is None or not self._keeper.is_reading  # a prompt into the cells
        while may_tidy:
            try:
                return self._commands.get(timeout=TIDY_PAUSE_S)
            except queue.Empty:
                may_tidy = self._tidy()
        return self._keeper.wait(self._commands) if self._keeper else self._commands.get()

    def _obey_waiting(self) -> bool:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return True
            if not self._obey(command):
                return False

    def _obey(self, command: Command) -> bool:
        """Do what a command says; False ends."""
        if isinstance(command, StopCommand):
            return False
        if isinstance(command, CancelCommand):
            output = self._engine.cancel(command.request_id) or self._let_go(command.request_id)
            job = self._embedder.cancel(command.request_id)
            self._cancelled.discard(command.request_id)
            self._report([output] if output else [])
            self._report_jobs([job] if job else [])
        elif isinstance(command, EmbeddingJob):
            self._embedder.submit(command)
        elif isinstance(command, Count):
            self._send(self._counts(command))
        elif isinstance(command, RestoredPrefix):
            for seq in self._keeper.take(command) if self._keeper else ():
                self._begin(seq)
        else:
            command.submitted_at = time.monotonic()
            if self._keeper is None or not self._keeper.holds_back(command):
                self._begin(command)
        return True

    def _counts(self, request: Count) -> Counts:
        if self._take_census is not None:
            return self._take_census(request, len(self._open))
        number = request.request_id
        return Counts(
            request_id=number, num_open=len(self._open), num_cells=0, num_holders=0, num_samplers=0
        )

    def _let_go(self, request_id: int) -> StepOutput | None:
        """End a request that waits for a saved prompt; None when there is no such."""
        seq = self._keeper.cancel(request_id) if self._keeper else None
        if seq is None:
            return None
        seq.finish = FinishReason.CANCELLED
        return StepOutput(seq, "", FinishReason.CANCELLED)

    def _begin(self, seq: Sequence) -> None:
        try:
            self._engine.submit(seq)
        except LoadError as error:
            self._open.discard(seq.request_id)
            self._send(
                Failed(
                    request_id=seq.request_id,
                    code=error.code,
                    message=error.message,
                    hint=error.hint,
                )
            )
        size = self._context.adapter_bytes
        if size != self._adapter_bytes:
            self._adapter_bytes = size
            self._send(MemoryChanged(adapter_bytes=size))

    def _report(self, outputs: list[StepOutput]) -> None:
        scores = tuple(
            (output.seq.request_id, found)
            for output in outputs
            if output.seq.scores and (found := output.seq.release_scores())
        )
        scored = {request_id for request_id, _ in scores}
        deltas = tuple(
            (output.seq.request_id, output.text)
            for output in outputs
            if output.text or output.seq.request_id in scored
        )
        if deltas:
            self._send(Step(deltas=deltas, scores=scores))
        now = time.monotonic()
        for output in outputs:
            self._count(output.seq)
            if output.finish is not None:
                self._open.discard(output.seq.request_id)
                self._counted.pop(output.seq.request_id, None)
                if self._keeper is not None:
                    self._keeper.note(output.seq)
                self._send(terminal_event(output.seq, now))

    def _count(self, seq: Sequence) -> None:
        before = self._counted.get(seq.request_id, 0)
        self._counted[seq.request_id] = seq.num_generated
        self.num_tokens += max(0, seq.num_generated - before)

    def _report_jobs(self, jobs: list[EmbeddingJob]) -> None:
        for job in jobs:
            self._open.discard(job.request_id)
            self._send(job_event(job))


def _refuse(pooling: Pooling) -> PoolingBackend:
    raise LoadError(f"nothing here can embed ({pooling})")


def terminal_event(seq: Sequence, now: float) -> Finished | Failed:
    """Return the terminal event of a sequence that ended."""
    failure = seq.constraint.failure if seq.constraint else None
    if failure is None or seq.finish is FinishReason.CANCELLED:
        return _finished(seq, now)
    return Failed(request_id=seq.request_id, code=UsageError.code, message=failure)


def _finished(seq: Sequence, now: float) -> Finished:
    if seq.finish is None:
        raise ValueError(f"request {seq.request_id} is not finished")
    admitted = seq.admitted_at or now
    first = seq.first_token_at or now
    return Finished(
        request_id=seq.request_id,
        reason=seq.finish,
        prompt_tokens=seq.num_prompt,
        cached_tokens=seq.num_cached,
        generated_tokens=seq.num_generated,
        queue_s=admitted - seq.submitted_at,
        prompt_s=first - admitted,
        generation_s=now - first,
        drafted_tokens=seq.num_drafted,
        accepted_tokens=seq.num_accepted,
        predicted_right=seq.num_predicted_right if seq.predicted else None,
        predicted_wrong=seq.num_predicted - seq.num_predicted_right if seq.predicted else None,
        dropped_tokens=seq.num_dropped,
        stop=seq.text.stop,
        tokens=tuple(seq.tokens) if seq.tells_tokens else (),
        thought_tokens=seq.thought.num_tokens if seq.thought else 0,
    )
