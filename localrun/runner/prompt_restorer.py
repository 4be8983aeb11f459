"""Restoring of saved prompts: files are read while their requests wait, then put into the cache.

Files are read on a thread of the restorer. The KV cache is touched on the engine thread only, one
segment of tokens at a time, so that no other request waits longer than the copy of one segment
takes. Segments of one sequence are read at a time; sequences behind it wait in order of arrival.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from localrun.prefixes import border_before, common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.sequence import Sequence
    from localrun.runner.media.stable_ids import StableIds
    from localrun.store.prompt_file import PromptSegment
    from localrun.store.prompts import PromptFolder

MIN_TOKENS = 16  # fewer tokens are quicker to compute than to read
NEW_SHARE = 8  # at least one in so many tokens that are read must not be cached yet


@dataclass(frozen=True, slots=True)
class RestoredPrefix:
    """Command to the engine thread: a segment was read; ``data`` is None if its file is gone."""

    segment: PromptSegment
    data: bytes | None


class NullPromptRestorer:
    """Restorer of a runner without saved prompts."""

    is_reading = False

    def defer(self, _seq: Sequence) -> bool:
        """Return False: no sequence waits."""
        return False

    def restore(self, _prefix: RestoredPrefix) -> list[Sequence]:
        """Return no sequences."""
        return []

    def cancel(self, _request_id: int) -> Sequence | None:
        """Return None: no sequence waits."""

    def close(self) -> None:
        """Do nothing: no file is read."""


class PromptRestorer:
    """Queue of sequences that wait for saved prompts.

    Except for `_read`, all methods run on the engine thread.
    """

    def __init__(
        self,
        cache: KvCache,
        folder: PromptFolder,
        ids: StableIds,
        post: Callable[[RestoredPrefix], None],
    ) -> None:
        """Create a restorer; ``post`` queues a command for the engine thread, from any thread."""
        self._cache = cache
        self._folder = folder
        self._ids = ids
        self._post = post
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="restore")
        self._head: Sequence | None = None  # the sequence whose segments are read
        self._prompt: list[int] = []  # tokens of the head
        self._segments: deque[PromptSegment] = deque()  # to be read next
        self._reading: PromptSegment | None = None
        self._waiting: deque[Sequence] = deque()  # behind the head

    @property
    def is_reading(self) -> bool:
        """Return whether segments are on their way into the cache."""
        return self._reading is not None

    def defer(self, seq: Sequence) -> bool:
        """Return whether the sequence must wait until `restore` returns it."""
        if self._reading is not None:
            self._waiting.append(seq)
            return True
        return self._begin(seq)

    def restore(self, prefix: RestoredPrefix) -> list[Sequence]:
        """Put a segment into the cache; return the sequences that no longer wait."""
        segment, data = prefix.segment, prefix.data
        if segment is not self._reading:
            return []
        has_more = self._read_next()  # while this segment is copied
        own = self._ids.local(segment.tokens)
        is_cached = (
            data is not None
            and own is not None
            and self._cache.import_run(self._prompt[: segment.start] + own, segment.start, data)
        )
        if is_cached and has_more:
            return []
        self._reading = None  # later segments would have no predecessor in the cache
        return self._release()

    def cancel(self, request_id: int) -> Sequence | None:
        """Remove and return the waiting sequence of a request; None if it does not wait here."""
        if self._head is not None and self._head.request_id == request_id:
            head, self._head = self._head, None  # its segments may still serve other requests
            return head
        for seq in self._waiting:
            if seq.request_id == request_id:
                self._waiting.remove(seq)
                return seq
        return None

    def close(self) -> None:
        """Stop reading; do not wait for a file that is being read."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, seq: Sequence) -> bool:
        segments = [] if seq.adapters else self._useful_segments(seq.tokens)  # saved without any
        if not segments:
            return False
        self._head, self._prompt, self._segments = seq, seq.tokens, deque(segments)
        self._read_next()
        return True

    def _useful_segments(self, tokens: list[int]) -> list[PromptSegment]:
        """Return the saved segments that avoid computing a good part of a prompt.

        A segment is useless if it goes on with media that this process does not know.
        """
        reusable = tokens[: border_before(tokens, len(tokens) - 1)]  # the last is always computed
        num_cached = self._cache.num_cached_tokens(reusable)
        stable = self._ids.stable(reusable)
        if self._cache.exports_whole_prompts:
            found = self._folder.find_whole(stable)
        else:
            found = self._folder.find(stable, num_cached)
        segments = list(takewhile(lambda one: self._ids.local(one.tokens) is not None, found))
        if not segments:
            return []
        num_known = self._cache.num_known_tokens(reusable)
        num_new = num_saved(segments, stable, segments[0].start) - num_known
        num_read = sum(len(segment.tokens) for segment in segments)
        return segments if num_new >= max(MIN_TOKENS, num_read // NEW_SHARE) else []

    def _read_next(self) -> bool:
        """Start to read the next segment; return False if there is none."""
        self._reading = self._segments.popleft() if self._segments else None
        if self._reading is None:
            return False
        self._thread.submit(self._read, self._reading)
        return True

    def _read(self, segment: PromptSegment) -> None:
        """Read a segment on the restorer's thread; post the result even if reading fails."""
        data = None
        try:
            data = self._folder.read(segment)
        finally:
            self._post(RestoredPrefix(segment, data))

    def _release(self) -> list[Sequence]:
        """Return the head and the sequences behind it, up to the next with segments to read."""
        ready = [self._head] if self._head is not None else []
        self._head = None
        self._segments.clear()
        while self._waiting:
            seq = self._waiting.popleft()
            if self._begin(seq):
                break
            ready.append(seq)
        return ready


def num_saved(segments: list[PromptSegment], tokens: list[int], start: int) -> int:
    """Return how many first tokens the consecutive ``segments`` from ``start`` on cover."""
    if not segments:
        return start
    last = segments[-1]
    return last.start + common_prefix_length(last.tokens, tokens[last.start : last.end])
