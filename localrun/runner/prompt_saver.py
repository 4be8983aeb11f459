"""Saved prompts of a runner: written to disk while idle, restored before a prompt is computed.

Files are read and written by the saver's own two threads. The KV cache is touched on the
engine thread only, between steps and one run of tokens at a time, so that no request waits
longer than the copy of one run takes.

    engine thread    next_command -> take a run out            put a run in -> submit
                                           |                        ^
    file threads                           +-> write       read ----+
"""

from __future__ import annotations

import concurrent.futures
import queue
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from localrun.store.prompts import RUN_TOKENS, common_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from localrun.engine.cache.exchange import Exchange
    from localrun.engine.sequence import Sequence
    from localrun.store.prompt_file import PromptSegment
    from localrun.store.prompts import PromptFolder

QUIET_S = 2.0  # after a request ended; the next request may extend the same prompt
CLOSE_TIMEOUT_S = 2.0  # for saving at exit; shorter than the supervisor's grace period
POLL_S = 0.02  # between checks whether a file is written
TIDY_PAUSE_S = 0.02  # between two pieces: a command waits for one piece at most
MIN_TOKENS = 16  # fewer tokens are quicker to compute than to read
NEW_SHARE = 8  # at least one in so many tokens that are read must not be cached yet
READ_BYTES_PER_S = 1e9  # disk and hash
MIN_SPEEDUP = 2.0  # of reading over computing
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class RestoredPrefix:
    """Command to the engine thread: a run was read; ``data`` is None if its file is gone."""

    run: PromptSegment
    data: bytes | None


class _Piece(NamedTuple):
    prompt: list[int]
    start: int
    end: int


class NullPromptSaver:
    """Prompt saver of a runner that saves nothing: only tidies the cache while idle.

    All methods run on the engine thread.
    """

    def __init__(self, tidy: Callable[[], bool] = lambda: False) -> None:
        self._tidy = tidy

    def defer(self, _seq: Sequence) -> bool:
        """Return False: no prompt is restored."""
        return False

    def restore(self, _prefix: RestoredPrefix) -> list[Sequence]:
        """Return no sequences."""
        return []

    def cancel(self, _request_id: int) -> Sequence | None:
        """Return None: no sequence waits."""

    def record(self, seq: Sequence) -> None:
        """Ignore a sequence that ended."""

    def next_command(self, commands: queue.SimpleQueue[C]) -> C:
        """Return the next command; tidy the cache until it comes."""
        command = _command_while_tidying(commands, self._tidy)
        return commands.get() if command is None else command

    def close(self) -> None:
        """Do nothing: nothing is saved."""


class PromptSaver:
    """Exchange of prompts between the KV cache of one model and its folder of saved prompts.

    Except for `_read`, all methods run on the engine thread.
    """

    def __init__(
        self,
        exchange: Exchange,
        folder: PromptFolder,
        post: Callable[[RestoredPrefix], None],
        *,
        num_vocab: int,
        quiet_s: float = QUIET_S,
    ) -> None:
        """Create a saver; ``post`` queues a command for the engine thread, from any thread."""
        self._exchange = exchange
        self._folder = folder
        self._post = post
        self._num_vocab = num_vocab
        self._quiet_s = quiet_s
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="prompts")
        self._token_s: float | None = None  # to compute one token of a prompt
        self._ended_at = 0.0  # of the last sequence
        self._has_new_prompts = False
        self._pieces: list[_Piece] = []  # to be saved, the last one first
        self._rejected: set[int] = set()  # hashes of pieces that are quicker to compute than read
        self._budget_bytes = 0  # of this round: it must not evict what it has just saved
        self._write: Future[None] | None = None
        self._head: Sequence | None = None  # the sequence whose runs are read
        self._prompt: list[int] = []  # tokens of the head
        self._runs: deque[PromptSegment] = deque()  # to be read next
        self._reading: PromptSegment | None = None
        self._waiting: deque[Sequence] = deque()  # behind the head

    def defer(self, seq: Sequence) -> bool:
        """Return whether the sequence must wait until `restore` returns it."""
        if self._reading is not None:
            self._waiting.append(seq)
            return True
        return self._begin(seq)

    def restore(self, prefix: RestoredPrefix) -> list[Sequence]:
        """Put a run into the cache; return the sequences that no longer wait."""
        if prefix.run is not self._reading:
            return []
        has_more = self._read_next()  # while this run is copied
        tokens = self._prompt[: prefix.run.start] + prefix.run.tokens
        is_cached = prefix.data is not None and self._exchange.put_in(
            tokens, prefix.run.start, prefix.data
        )
        if is_cached and has_more:
            return []
        self._reading = None  # later runs would have no predecessor in the cache
        return self._release()

    def cancel(self, request_id: int) -> Sequence | None:
        """Remove and return the waiting sequence of a request; None if it does not wait here."""
        if self._head is not None and self._head.request_id == request_id:
            head, self._head = self._head, None  # its runs are still restored for other requests
            return head
        for seq in self._waiting:
            if seq.request_id == request_id:
                self._waiting.remove(seq)
                return seq
        return None

    def record(self, seq: Sequence) -> None:
        """Note that a sequence ended, and how long its prompt took to compute."""
        self._has_new_prompts = True
        self._ended_at = time.monotonic()
        num_computed = seq.num_prompt - seq.num_cached
        if num_computed >= MIN_TOKENS and seq.first_token_at:
            token_s = (seq.first_token_at - seq.admitted_at) / num_computed
            self._token_s = min(token_s, self._token_s or token_s)  # other sequences only slow it

    def next_command(self, commands: queue.SimpleQueue[C]) -> C:
        """Return the next command; until it comes, tidy the cache and save prompts."""
        if self._reading is None:
            command = _command_while_tidying(commands, self._exchange.tidy)
            if command is not None:
                return command
        while True:
            try:
                return commands.get(timeout=self._pause_s())
            except queue.Empty:
                self._save_next()
                while not self._is_saving and commands.empty() and self._exchange.tidy():
                    pass

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Save prompts that are not saved yet, the latest first; block at most ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self._is_saving and (remaining_s := deadline - time.monotonic()) > 0:
            if self._write is not None:
                concurrent.futures.wait([self._write], remaining_s)
            self._save_next()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_saving(self) -> bool:
        return self._has_new_prompts or bool(self._pieces) or not self._is_written

    @property
    def _is_written(self) -> bool:
        return self._write is None or self._write.done()

    def _pause_s(self) -> float | None:
        """Return the seconds until the next piece is to be saved, or None if there is none."""
        if self._reading is not None or not self._is_saving:
            return None
        if not self._is_written:
            return POLL_S
        return max(0.0, self._ended_at + self._quiet_s - time.monotonic())

    def _begin(self, seq: Sequence) -> bool:
        runs = [] if seq.adapters else self._useful_runs(seq.tokens)  # none is saved with adapters
        if not runs:
            return False
        self._head, self._prompt, self._runs = seq, seq.tokens, deque(runs)
        self._read_next()
        return True

    def _useful_runs(self, tokens: list[int]) -> list[PromptSegment]:
        """Return the saved runs that avoid computing a good part of a prompt."""
        reusable = tokens[:-1]  # the last token is always computed
        num_cached = self._exchange.num_cached(reusable)
        if self._exchange.is_whole:
            runs = self._folder.find_whole(reusable)
        else:
            runs = self._folder.find(reusable, num_cached)
        if not runs:
            return []
        num_new = _num_saved(runs, reusable, runs[0].start) - num_cached
        num_read = sum(len(run.tokens) for run in runs)
        return runs if num_new >= max(MIN_TOKENS, num_read // NEW_SHARE) else []

    def _read_next(self) -> bool:
        """Start to read the next run; return False if there is none."""
        self._reading = self._runs.popleft() if self._runs else None
        if self._reading is None:
            return False
        self._threads.submit(self._read, self._reading)
        return True

    def _read(self, run: PromptSegment) -> None:
        """Read a run on a file thread; post the result even if reading fails."""
        data = None
        try:
            data = self._folder.read(run)
        finally:
            self._post(RestoredPrefix(run, data))

    def _release(self) -> list[Sequence]:
        """Return the head and the sequences behind it, up to the next one with runs to read."""
        ready = [self._head] if self._head is not None else []
        self._head = None
        self._runs.clear()
        while self._waiting:
            seq = self._waiting.popleft()
            if self._begin(seq):
                break
            ready.append(seq)
        return ready

    def _save_next(self) -> None:
        """Copy one piece out of the cache and start to write it."""
        if not self._is_written:
            return
        self._write = None
        if self._has_new_prompts:
            self._has_new_prompts = False
            self._budget_bytes = self._folder.budget_bytes // 2
            self._pieces = [
                piece for prompt in self._exchange.prompts() for piece in self._unsaved(prompt)
            ]
        if not self._pieces:
            return
        prompt, start, end = self._pieces.pop()
        tokens = prompt[:end]
        if self._is_settled(tokens, start):
            return
        data = self._exchange.take_out(tokens, start)
        if data is None:
            return
        if not self._is_quicker_read(data, end - start):
            self._rejected.add(_hash(tokens))
            return
        self._budget_bytes -= len(data)
        if self._budget_bytes < 0:
            self._pieces = []
            return
        self._write = self._threads.submit(self._folder.write, tokens, start, data)

    def _unsaved(self, prompt: list[int]) -> list[_Piece]:
        """Return the pieces of a prompt that are not saved, the first one last.

        Runs that are saved already are marked as used.
        """
        invalid = (place for place, token in enumerate(prompt) if not 0 <= token < self._num_vocab)
        prompt = prompt[: next(invalid, len(prompt))]
        if self._exchange.is_whole:
            return [_Piece(prompt, 0, len(prompt))]
        runs = self._folder.find(prompt, 0)
        for run in reversed(runs):  # the beginning of a prompt is evicted last
            self._folder.touch(run)
        first = _num_saved(runs, prompt, 0) // RUN_TOKENS * RUN_TOKENS
        starts = range(first, len(prompt), RUN_TOKENS)
        pieces = [_Piece(prompt, start, min(start + RUN_TOKENS, len(prompt))) for start in starts]
        return pieces[::-1]

    def _is_settled(self, tokens: list[int], start: int) -> bool:
        """Return whether too few of the tokens are unsaved to justify a file."""
        if len(tokens) - start < MIN_TOKENS or _hash(tokens) in self._rejected:
            return True
        if self._exchange.is_whole:
            runs = self._folder.find_whole(tokens)
        else:
            runs = self._folder.find(tokens, start)
        return len(tokens) - _num_saved(runs, tokens, start) < MIN_TOKENS

    def _is_quicker_read(self, data: bytes, num_tokens: int) -> bool:
        """Return whether reading the data is much quicker than computing the tokens."""
        if self._token_s is None:
            return True
        return self._token_s * num_tokens > MIN_SPEEDUP * len(data) / READ_BYTES_PER_S


def _command_while_tidying(commands: queue.SimpleQueue[C], tidy: Callable[[], bool]) -> C | None:
    """Return the next command, or None once ``tidy`` has no more to do."""
    has_more = True
    while has_more:
        try:
            return commands.get(timeout=TIDY_PAUSE_S)
        except queue.Empty:
            has_more = tidy()
    return None


def _num_saved(runs: list[PromptSegment], tokens: list[int], start: int) -> int:
    """Return how many first tokens the consecutive ``runs`` from ``start`` on cover."""
    if not runs:
        return start
    last = runs[-1]
    return last.start + common_tokens(last.tokens, tokens[last.start : last.end])


def _hash(tokens: list[int]) -> int:
    return hash(tuple(tokens))
