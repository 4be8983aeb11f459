"""Saving of computed prompts to disk while the engine is idle, and at exit.

Files are written on a thread of the saver. The KV cache is touched on the engine thread only, one
segment of tokens or one sequence at a time, so that a request waits for one copy at most. The saver
also decides what the engine thread does while it waits for a command: compact the cache, then save.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from localrun.allocator import release_free_memory
from localrun.runner.prompt_restorer import MIN_TOKENS, num_saved
from localrun.store.prompts import segment_bounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.sequence import Sequence
    from localrun.runner.media.stable_ids import StableIds
    from localrun.runner.prompt_restorer import PromptRestorer
    from localrun.store.prompts import PromptFolder

QUIET_S = 2.0  # after a request ended; the next request may extend the same prompt
CLOSE_TIMEOUT_S = 2.0  # for saving at exit; shorter than the supervisor's grace period
POLL_S = 0.02  # between checks whether a file is written
TIDY_PAUSE_S = 0.02  # without a command, before the cache is compacted
READ_BYTES_PER_S = 1e9  # disk and hash
RELEASE_S = 10.0  # without a command, before freed memory is returned to the system
MIN_SPEEDUP = 2.0  # of reading over computing
C = TypeVar("C")


class _PromptPart(NamedTuple):
    prompt: list[int]
    stable: list[int]  # the same with the ids of media in files
    start: int
    end: int


class NullPromptSaver:
    """Saver of a runner without saved prompts: only tidies the cache while idle.

    All methods run on the engine thread.
    """

    def __init__(self, compact: Callable[[], bool] = lambda: False) -> None:
        self._compact = compact

    def record(self, seq: Sequence) -> None:
        """Ignore a sequence that ended."""

    def next_command(
        self, commands: queue.SimpleQueue[C], compacted: Callable[[], None] = lambda: None
    ) -> C:
        """Return the next command; compact the cache until it comes, then call ``compacted``."""
        command = _command_while_compacting(commands, self._compact, compacted)
        return _last_command(commands) if command is None else command

    def close(self) -> None:
        """Do nothing: nothing is saved."""


class PromptSaver:
    """Unsaved prompts of one model's cache, and the writing of them to its folder.

    All methods run on the engine thread.
    """

    def __init__(
        self,
        cache: KvCache,
        folder: PromptFolder,
        restorer: PromptRestorer,
        ids: StableIds,
        *,
        num_vocab: int,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._cache = cache
        self._folder = folder
        self._restorer = restorer
        self._ids = ids
        self._num_vocab = num_vocab
        self._quiet_s = quiet_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._token_s: float | None = None  # to compute one token of a prompt
        self._ended_at = 0.0  # of the last sequence
        self._has_new_prompts = False
        self._pieces: list[_PromptPart] = []  # to be saved, the last one first
        self._rejected: set[int] = set()  # hashes of pieces that are quicker to compute than read
        self._budget_bytes = 0  # of this round: it must not evict what it has just saved
        self._write: Future[None] | None = None

    def record(self, seq: Sequence) -> None:
        """Note that a sequence ended, and how long its prompt took to compute."""
        self._has_new_prompts = True
        self._ended_at = time.monotonic()
        num_computed = seq.num_prompt - seq.num_cached
        if num_computed >= MIN_TOKENS and seq.first_token_at:
            token_s = (seq.first_token_at - seq.admitted_at) / num_computed
            self._token_s = min(token_s, self._token_s or token_s)  # other sequences only slow it

    def next_command(
        self, commands: queue.SimpleQueue[C], compacted: Callable[[], None] = lambda: None
    ) -> C:
        """Return the next command; until it comes, compact the cache and save prompts.

        ``compacted`` is called when the cache is.
        """
        if not self._restorer.is_reading:
            command = _command_while_compacting(commands, self._cache.compact, compacted)
            if command is not None:
                return command
        while (pause_s := self._pause_s()) is not None:
            try:
                return commands.get(timeout=pause_s)
            except queue.Empty:
                self._save_next()
                while not self._is_saving and commands.empty() and self._cache.compact():
                    pass
        return _last_command(commands)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Save prompts that are not saved yet, the latest first; block at most ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self._is_saving and (remaining_s := deadline - time.monotonic()) > 0:
            if self._write is not None:
                concurrent.futures.wait([self._write], remaining_s)
            self._save_next()
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_saving(self) -> bool:
        return self._has_new_prompts or bool(self._pieces) or not self._is_written

    @property
    def _is_written(self) -> bool:
        return self._write is None or self._write.done()

    def _pause_s(self) -> float | None:
        """Return the seconds until the next piece is to be saved, or None if there is none."""
        if self._restorer.is_reading or not self._is_saving:
            return None
        if not self._is_written:
            return POLL_S
        return max(0.0, self._ended_at + self._quiet_s - time.monotonic())

    def _save_next(self) -> None:
        """Copy one piece out of the cache and start to write it."""
        if not self._is_written:
            return
        self._write = None
        if self._has_new_prompts:
            self._has_new_prompts = False
            self._budget_bytes = self._folder.budget_bytes // 2
            self._pieces = [
                piece for prompt in self._cache.cached_prompts() for piece in self._unsaved(prompt)
            ]
        if not self._pieces:
            return
        prompt, stable, start, end = self._pieces.pop()
        tokens = stable[:end]
        if self._is_settled(tokens, start):
            return
        data = self._cache.export_run(prompt[:end], start)
        if data is None:
            return
        if not self._is_quicker_read(data, end - start):
            self._rejected.add(_hash(tokens))
            return
        self._budget_bytes -= len(data)
        if self._budget_bytes < 0:
            self._pieces = []
            return
        self._write = self._thread.submit(self._folder.write, tokens, start, data)

    def _unsaved(self, prompt: list[int]) -> list[_PromptPart]:
        """Return the pieces of a prompt that are not saved, the first one last.

        Segments that are saved already are marked as used.
        """
        invalid = (place for place, token in enumerate(prompt) if token >= self._num_vocab)
        stable = self._ids.stable(prompt[: next(invalid, len(prompt))])
        if self._cache.exports_whole_prompts:
            return [_PromptPart(prompt, stable, 0, len(stable))]
        segments = self._folder.find(stable, 0)
        for segment in reversed(segments):  # the beginning of a prompt is evicted last
            self._folder.touch(segment)
        bounds = segment_bounds(stable, num_saved(segments, stable, 0))
        pieces = [_PromptPart(prompt, stable, start, end) for start, end in pairwise(bounds)]
        return pieces[::-1]

    def _is_settled(self, tokens: list[int], start: int) -> bool:
        """Return whether too few of the tokens are unsaved to justify a file."""
        if len(tokens) - start < MIN_TOKENS or _hash(tokens) in self._rejected:
            return True
        if self._cache.exports_whole_prompts:
            segments = self._folder.find_whole(tokens)
        else:
            segments = self._folder.find(tokens, start)
        return len(tokens) - num_saved(segments, tokens, start) < MIN_TOKENS

    def _is_quicker_read(self, data: bytes, num_tokens: int) -> bool:
        """Return whether reading the data is much quicker than computing the tokens."""
        if self._token_s is None:
            return True
        return self._token_s * num_tokens > MIN_SPEEDUP * len(data) / READ_BYTES_PER_S


def _command_while_compacting(
    commands: queue.SimpleQueue[C], compact: Callable[[], bool], compacted: Callable[[], None]
) -> C | None:
    """Return the next command, or None once ``compact`` has no more to do.

    A command waits for one piece at most: a segment, or a sequence that ended in a stream.
    """
    with contextlib.suppress(queue.Empty):
        return commands.get(timeout=TIDY_PAUSE_S)
    while compact():
        with contextlib.suppress(queue.Empty):
            return commands.get_nowait()
    compacted()
    return None


def _last_command(commands: queue.SimpleQueue[C]) -> C:
    """Return the next command; until it comes, nothing but returning freed memory is left to do."""
    try:
        return commands.get(timeout=RELEASE_S)
    except queue.Empty:
        release_free_memory()
    return commands.get()


def _hash(tokens: list[int]) -> int:
    return hash(tuple(tokens))
