"""Save computed prompts while nobody asks, and bring them back before a prompt is computed.

Files are read and written by threads of their own; what touches the cache happens in the
engine's thread, between steps and a run of tokens at a time, so that no answer waits for
more than the copy of one run.

    engine's thread    wait  ->  take a run out             take a run in  ->  submit
                                      |                          ^
    file threads                      +->  write        read ----+
"""

from __future__ import annotations

import concurrent.futures
import queue
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from localrun.store.prompts import SEGMENT_TOKENS, common_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from localrun.engine.cache.exchange import Exchange
    from localrun.engine.sequence import Sequence
    from localrun.store.prompt_file import PromptSegment
    from localrun.store.prompts import PromptFolder

QUIET_S = 2.0  # after the last answer; what follows it at once may go on from the same prompt
CLOSE_S = 2.0  # for saving at the end; the supervisor's grace is longer
POLL_S = 0.02  # between looks whether a file is written
LEAST_TOKENS = 16  # fewer are computed in no time
LEAST_SHARE = 8  # one in so many tokens that are read has to be new
READ_BYTES_PER_S = 1e9  # of a disk, and of the hash
WORTH = 2.0  # computing must take so many times as long as reading
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class RestoredPrefix:
    """A run was read; None: it is gone."""

    run: PromptSegment
    data: bytes | None


class _Piece(NamedTuple):
    prompt: list[int]
    start: int
    end: int


class PromptSaver:
    """What is between the cache of one model and its folder of saved prompts."""

    def __init__(
        self,
        exchange: Exchange,
        folder: PromptFolder,
        post: Callable[[RestoredPrefix], None],
        *,
        num_vocab: int,
        quiet_s: float = QUIET_S,
    ) -> None:
        """``post`` brings a command to the engine's thread, from any other."""
        self._exchange = exchange
        self._folder = folder
        self._post = post
        self._num_vocab = num_vocab
        self._quiet_s = quiet_s
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="prompts")
        self._token_s: float | None = None  # to compute a token of a prompt
        self._ended_at = 0.0
        self._has_news = False
        self._pieces: list[_Piece] = []  # to be saved, the last one first
        self._refused: set[int] = set()  # hashes of pieces that are quicker computed than read
        self._room_bytes = 0  # for this round: it must not push out what it has just saved
        self._writing: Future[None] | None = None
        self._head: Sequence | None = None  # for which runs are read
        self._prompt: list[int] = []  # of the head
        self._runs: deque[PromptSegment] = deque()  # to be read next
        self._reading: PromptSegment | None = None
        self._waiting: deque[Sequence] = deque()  # behind the head

    def holds_back(self, seq: Sequence) -> bool:
        """Return whether the sequence waits for a prompt from the disk, a `RestoredPrefix`."""
        if self._reading is not None:
            self._waiting.append(seq)
            return True
        return self._begin(seq)

    def take(self, fetched: RestoredPrefix) -> list[Sequence]:
        """Put a run into the cache; return the sequences that need not wait any more."""
        if fetched.run is not self._reading:
            return []
        goes_on = self._read_next()  # while this one is copied
        tokens = self._prompt[: fetched.run.start] + fetched.run.tokens
        is_in = fetched.data is not None and self._exchange.put_in(
            tokens, fetched.run.start, fetched.data
        )
        if is_in and goes_on:
            return []
        self._reading = None  # what comes next would follow nothing
        return self._let_go()

    def cancel(self, request_id: int) -> Sequence | None:
        """Return the sequence of a request that waits here, and forget it."""
        if self._head is not None and self._head.request_id == request_id:
            found, self._head = self._head, None  # what is read may serve others
            return found
        for seq in self._waiting:
            if seq.request_id == request_id:
                self._waiting.remove(seq)
                return seq
        return None

    def note(self, seq: Sequence) -> None:
        """Learn from a sequence that ended."""
        self._has_news = True
        self._ended_at = time.monotonic()
        num_computed = seq.num_prompt - seq.num_cached
        if num_computed >= LEAST_TOKENS and seq.first_token_at:
            token_s = (seq.first_token_at - seq.admitted_at) / num_computed
            self._token_s = min(token_s, self._token_s or token_s)  # others make it longer

    def wait(self, commands: queue.SimpleQueue[C]) -> C:
        """Return the next command; until it comes, save what is worth it."""
        while True:
            try:
                return commands.get(timeout=self._pause_s())
            except queue.Empty:
                self._save_next()
                while not self._is_saving and commands.empty() and self._exchange.tidy():
                    pass

    def close(self, patience_s: float = CLOSE_S) -> None:
        """Save what is not saved yet, the latest first; blocks so long at most."""
        deadline = time.monotonic() + patience_s
        while self._is_saving and (left := deadline - time.monotonic()) > 0:
            if self._writing is not None:
                concurrent.futures.wait([self._writing], left)
            self._save_next()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def is_reading(self) -> bool:
        """Return whether runs of a prompt are on their way into the cache."""
        return self._reading is not None

    @property
    def _is_saving(self) -> bool:
        return self._has_news or bool(self._pieces) or not self._is_written

    @property
    def _is_written(self) -> bool:
        return self._writing is None or self._writing.done()

    def _pause_s(self) -> float | None:
        """Return the seconds until something is to be saved, None when nothing is."""
        if self._reading is not None or not self._is_saving:
            return None
        if not self._is_written:
            return POLL_S
        return max(0.0, self._ended_at + self._quiet_s - time.monotonic())

    def _begin(self, seq: Sequence) -> bool:
        runs = [] if seq.adapters else self._worth_reading(seq.tokens)  # saved without any
        if not runs:
            return False
        self._head, self._prompt, self._runs = seq, seq.tokens, deque(runs)
        self._read_next()
        return True

    def _worth_reading(self, tokens: list[int]) -> list[PromptSegment]:
        """Return the runs that spare computing a good part of a prompt."""
        known = tokens[:-1]  # the last one is always computed
        num_cached = self._exchange.num_cached(known)
        if self._exchange.is_whole:
            runs = self._folder.find_whole(known)
        else:
            runs = self._folder.find(known, num_cached)
        if not runs:
            return []
        num_known = _num_saved(runs, known, runs[0].start) - num_cached
        num_read = sum(len(run.tokens) for run in runs)
        return runs if num_known >= max(LEAST_TOKENS, num_read // LEAST_SHARE) else []

    def _read_next(self) -> bool:
        """Have the next run read; False when there is none."""
        self._reading = self._runs.popleft() if self._runs else None
        if self._reading is None:
            return False
        self._threads.submit(self._fetch, self._reading)
        return True

    def _fetch(self, run: PromptSegment) -> None:
        """Read a run; the engine's thread hears of it whatever happens."""
        data = None
        try:
            data = self._folder.read(run)
        finally:
            self._post(RestoredPrefix(run, data))

    def _let_go(self) -> list[Sequence]:
        """Return the head, and those behind it up to the next for which something is read."""
        free = [self._head] if self._head is not None else []
        self._head = None
        self._runs.clear()
        while self._waiting:
            seq = self._waiting.popleft()
            if self._begin(seq):
                break
            free.append(seq)
        return free

    def _save_next(self) -> None:
        """Take one piece out and have it written."""
        if not self._is_written:
            return
        self._writing = None
        if self._has_news:
            self._has_news = False
            self._room_bytes = self._folder.budget_bytes // 2
            self._pieces = [
                piece for prompt in self._exchange.prompts() for piece in self._cut(prompt)
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
        if not self._is_worth(data, end - start):
            self._refused.add(_name(tokens))
            return
        self._room_bytes -= len(data)
        if self._room_bytes < 0:
            self._pieces = []
            return
        self._writing = self._threads.submit(self._folder.write, tokens, start, data)

    def _cut(self, prompt: list[int]) -> list[_Piece]:
        """Return what of a prompt is not saved, its beginning last; what is, counts as used."""
        strange = (place for place, token in enumerate(prompt) if not 0 <= token < self._num_vocab)
        prompt = prompt[: next(strange, len(prompt))]
        if self._exchange.is_whole:
            return [_Piece(prompt, 0, len(prompt))]
        runs = self._folder.find(prompt, 0)
        for run in reversed(runs):  # the beginning stays longest
            self._folder.touch(run)
        first = _num_saved(runs, prompt, 0) // SEGMENT_TOKENS * SEGMENT_TOKENS
        starts = range(first, len(prompt), SEGMENT_TOKENS)
        pieces = [
            _Piece(prompt, start, min(start + SEGMENT_TOKENS, len(prompt))) for start in starts
        ]
        return pieces[::-1]

    def _is_settled(self, tokens: list[int], start: int) -> bool:
        """Return whether so few of the tokens are new that it is not worth a file."""
        if len(tokens) - start < LEAST_TOKENS or _name(tokens) in self._refused:
            return True
        if self._exchange.is_whole:
            runs = self._folder.find_whole(tokens)
        else:
            runs = self._folder.find(tokens, start)
        return len(tokens) - _num_saved(runs, tokens, start) < LEAST_TOKENS

    def _is_worth(self, data: bytes, num_tokens: int) -> bool:
        """Return whether reading the data is much quicker than computing the tokens."""
        if self._token_s is None:
            return True
        return self._token_s * num_tokens > WORTH * len(data) / READ_BYTES_PER_S


def _num_saved(runs: list[PromptSegment], tokens: list[int], start: int) -> int:
    """Return how far runs that follow each other from ``start`` go along with ``tokens``."""
    if not runs:
        return start
    last = runs[-1]
    return last.start + common_tokens(last.tokens, tokens[last.start : last.end])


def _name(tokens: list[int]) -> int:
    return hash(tuple(tokens))
