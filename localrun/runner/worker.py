"""Engine thread of a runner: executes commands from a queue, steps the engine, sends events.

No other thread calls llama.cpp, except to tokenize (reads the vocabulary only) and to set the
abort flag. The text that leaves after a step is in one `Step` frame.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Union

from localrun.engine.embedder import EmbeddingJob
from localrun.engine.engine import StepOutput
from localrun.engine.params import FinishReason
from localrun.errors import BackendError, LoadError
from localrun.runner.events import StepEvents, failed_event, job_event, terminal_event
from localrun.runner.messages import Count, Event, Failed, MemoryChanged
from localrun.runner.prompt_restorer import RestoredPrefix
from localrun.runner.stats import StatsReporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.context import LlamaContext
    from localrun.engine.embedder import Embedder
    from localrun.engine.engine import Engine
    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.media.encoder import MediaEncoder
    from localrun.engine.sequence import Sequence
    from localrun.runner.null_engine import NullEngine
    from localrun.runner.prompt_restorer import NullPromptRestorer, PromptRestorer
    from localrun.runner.prompt_saver import NullPromptSaver, PromptSaver
    from localrun.runner.stats import EngineCounters


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """End this request."""

    request_id: int


@dataclass(frozen=True, slots=True)
class StopCommand:
    """Leave the loop."""


Command = Union["Sequence", EmbeddingJob, RestoredPrefix, Count, CancelCommand, StopCommand]
CommandQueue = queue.SimpleQueue[Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """What the engine thread of one model works with."""

    engine: Engine | NullEngine
    context: LlamaContext | NullEngine
    counters: EngineCounters
    saver: PromptSaver | NullPromptSaver
    restorer: PromptRestorer | NullPromptRestorer
    embedder: Embedder
    encoder: MediaEncoder | None = None  # None: the model neither sees nor hears


class Worker:
    """Command loop of one model.

    Threads: `run` is the body of the engine thread; `close` is called after `run` returned;
    all other public methods may be called from any thread.
    """

    def __init__(
        self, parts: EngineParts, commands: CommandQueue, send: Callable[[Event], None]
    ) -> None:
        self._engine = parts.engine
        self._context = parts.context
        self._counters = parts.counters
        self._saver = parts.saver
        self._restorer = parts.restorer
        self._embedder = parts.embedder
        self._encoder = parts.encoder
        self._is_stopped = False
        self._step_events = StepEvents()
        self._stats = StatsReporter(parts.counters.stats, send)
        self._commands = commands
        self._send = send
        # Held while a command is queued and its abort flag set, and while the engine thread
        # clears the flags and executes all commands: no abort is lost. Taken before the locks
        # of the channel and of the prompt folder.
        self._abort_lock = threading.Lock()
        self._open_ids: set[int] = set()
        self._cancelled_ids: set[int] = set()
        self._adapter_bytes = 0
        self._repeats_until = 0.0  # on the monotonic clock: the engine may repeat its last step
        self.num_steps = 0
        self.num_tokens = 0  # generated
        self._num_generated: dict[int, int] = {}  # tokens by open request

    @property
    def has_work(self) -> bool:
        """Return whether steps are to be made."""
        return self._engine.has_work or self._embedder.has_work

    def count(self, request: Count) -> None:
        """Queue a `Count`."""
        self._commands.put(request)

    def submit(self, work: Sequence | EmbeddingJob) -> None:
        """Queue a sequence or an embedding job."""
        self._open_ids.add(work.request_id)
        if not isinstance(work, EmbeddingJob):
            work.submitted_at = time.monotonic()  # now, not at the end of the step that runs
        self._commands.put(work)

    def cancel(self, request_id: int) -> None:
        """Queue a cancel; abort a running step whose tokens are mostly of cancelled requests."""
        self._cancelled_ids.add(request_id)
        with self._abort_lock:
            self._commands.put(CancelCommand(request_id))
            if self._engine.serves_mostly(set(self._cancelled_ids)):
                self._context.abort()
            self._embedder.abort_for(set(self._cancelled_ids))

    def stop(self) -> None:
        """Make `run` return at once."""
        with self._abort_lock:
            self._commands.put(StopCommand())
            self._context.abort()
            self._embedder.abort()

    def close(self) -> None:
        """Cancel open requests without an event, since the server is gone, and save prompts."""
        for output in map(self._engine.cancel, tuple(self._open_ids)):
            if output is not None:
                self._saver.record(output.seq)
        self._saver.close()
        self._restorer.close()

    def run(self) -> None:
        """Step until `stop` is called.

        Raises:
            BackendError: a context is broken; every open request got its terminal event.
        """
        self._stats.report(is_idle=True)
        try:
            while self._execute_commands():
                self._step()
        except BackendError as error:
            self._send_text([], time.monotonic(), holds=False)
            for request_id in sorted(self._open_ids):
                self._send(Failed(request_id=request_id, code=error.code, message=error.message))
            raise

    def _step(self) -> None:
        medium = self._engine.next_medium() if self._encoder is not None else None
        if self._encoder is None or medium is None:
            self._compute(may_repeat=True)
        else:
            self._encoder.encode(medium, partial(self._work_beside, medium))

    def _work_beside(self, medium: MediaChunk) -> bool:
        """Do what is due beside an encode; return False if it need not go on."""
        with self._abort_lock:
            self._context.clear_abort()
            self._embedder.clear_abort()
            if not self._execute_queued():
                self._is_stopped = True
                return False
        self._compute(may_repeat=False)
        return self._engine.needs(medium)

    def _compute(self, *, may_repeat: bool) -> None:
        self.num_steps += 1
        if self._engine.has_work:
            may_repeat = may_repeat and not self._embedder.has_work
            now = time.monotonic()
            self._repeats_until = self._step_events.due_at(now) if may_repeat else now
            self._report(self._engine.step(self._may_repeat))
        if self._embedder.has_work:
            self._report_jobs(self._embedder.step(is_alone=not self._engine.has_work))
        self._stats.report(is_idle=not self._engine.has_work)

    def _may_repeat(self) -> bool:
        """Return whether no event is due and no command waits."""
        return time.monotonic() < self._repeats_until and self._commands.empty()

    def _execute_commands(self) -> bool:
        """Execute all queued commands, after waiting for one if idle; False ends the loop."""
        if self._is_stopped:
            return False
        if not self.has_work and not self._execute(self._next_command()):
            return False
        with self._abort_lock:
            self._context.clear_abort()  # the command of every abort is in the queue
            self._embedder.clear_abort()
            return self._execute_queued()

    def _next_command(self) -> Command:
        """Wait for a command, and report the statistics once the cache is compacted."""
        compacted = partial(self._stats.report, is_idle=True)
        return self._saver.next_command(self._commands, compacted)

    def _execute_queued(self) -> bool:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return True
            self._send_text([], time.monotonic(), holds=False)  # a command may take long
            if not self._execute(command):
                return False

    def _execute(self, command: Command) -> bool:
        """Execute one command; return False if the loop must end."""
        if isinstance(command, StopCommand):
            return False
        if isinstance(command, CancelCommand):
            self._end(command.request_id)
        elif isinstance(command, EmbeddingJob):
            self._embedder.submit(command)
        elif isinstance(command, Count):
            self._send(self._counters.counts(command, len(self._open_ids)))
        elif isinstance(command, RestoredPrefix):
            for seq in self._restorer.restore(command):
                self._begin(seq)
        elif not self._restorer.defer(command):
            self._begin(command)
        return True

    def _end(self, request_id: int) -> None:
        output = self._engine.cancel(request_id) or self._cancel_deferred(request_id)
        job = self._embedder.cancel(request_id)
        self._cancelled_ids.discard(request_id)
        self._report([output] if output else [])
        self._report_jobs([job] if job else [])

    def _cancel_deferred(self, request_id: int) -> StepOutput | None:
        """End a request that waits for a saved prompt; return None if no such request waits."""
        seq = self._restorer.cancel(request_id)
        if seq is None:
            return None
        seq.finish = FinishReason.CANCELLED
        return StepOutput(seq, "", FinishReason.CANCELLED)

    def _begin(self, seq: Sequence) -> None:
        try:
            self._engine.submit(seq)
        except LoadError as error:
            self._open_ids.discard(seq.request_id)
            self._send(failed_event(seq.request_id, error))
        adapter_bytes = self._context.adapter_bytes
        if adapter_bytes != self._adapter_bytes:
            self._adapter_bytes = adapter_bytes
            self._send(MemoryChanged(adapter_bytes=adapter_bytes))

    def _report(self, outputs: list[StepOutput]) -> None:
        now = time.monotonic()
        holds = self._engine.only_decodes and not self._embedder.has_work
        self._send_text(outputs, now, holds=holds)
        for output in outputs:
            self._count_tokens(output.seq)
            if output.finish is not None:
                self._open_ids.discard(output.seq.request_id)
                self._num_generated.pop(output.seq.request_id, None)
                self._saver.record(output.seq)
                self._send(terminal_event(output.seq, now))

    def _send_text(self, outputs: list[StepOutput], now: float, *, holds: bool) -> None:
        step = self._step_events.next_event(outputs, now, holds=holds)
        if step is not None:
            self._send(step)

    def _count_tokens(self, seq: Sequence) -> None:
        num_before = self._num_generated.get(seq.request_id, 0)
        self._num_generated[seq.request_id] = seq.num_generated
        self.num_tokens += max(0, seq.num_generated - num_before)

    def _report_jobs(self, jobs: list[EmbeddingJob]) -> None:
        for job in jobs:
            self._open_ids.discard(job.request_id)
            self._send(job_event(job))
