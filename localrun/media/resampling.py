"""Change of a sound's rate, block by block: memory is bounded by the blocks, not by the sound.

Linear interpolation behind a moving average over the samples that become one, which removes what
the new rate cannot hold.
"""

from __future__ import annotations

import numpy as np


class Resampler:
    """Mono samples at ``source`` a second to samples at ``target`` a second."""

    def __init__(self, source: int, target: int) -> None:
        self._step = source / target
        self._width = max(1, round(self._step))  # of the average; it begins half of it before
        self._samples = np.empty(0, np.float32)  # what is still needed
        self._first = 0  # index of the first of them in the sound
        self._num_out = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Return the samples that are certain with another block, float32."""
        self._samples = np.concatenate([self._samples, block])
        last = self._end - self._width + self._width // 2 - 1  # its right neighbour is complete
        return self._until(int(last / self._step) + 1 if last >= 0 else 0)

    def finish(self) -> np.ndarray:
        """Return the samples up to the end of the sound, float32."""
        return self._until(max(1, round(self._end / self._step)) if self._end else 0)

    @property
    def _end(self) -> int:
        return self._first + len(self._samples)

    def _until(self, stop: int) -> np.ndarray:
        """Return the samples before the index ``stop`` of the result."""
        if stop <= self._num_out:
            return np.empty(0, np.float32)
        places = np.arange(self._num_out, stop) * self._step
        last = self._end - 1
        indexes = np.arange(min(int(places[0]), last), min(int(places[-1]) + 1, last) + 1)
        made: np.ndarray = np.interp(places, indexes, self._averages(indexes))
        self._num_out = stop
        unused = int(stop * self._step) - self._width // 2 - self._first
        if unused > 0:
            unused = min(unused, len(self._samples))
            self._samples, self._first = self._samples[unused:], self._first + unused
        return np.asarray(made, np.float32)

    def _averages(self, indexes: np.ndarray) -> np.ndarray:
        if self._width == 1:
            return np.asarray(self._samples[indexes - self._first])
        sums = np.concatenate([np.zeros(1), np.cumsum(self._samples, dtype=np.float64)])
        begin = indexes - self._width // 2
        start = np.clip(begin, 0, self._end) - self._first
        stop = np.clip(begin + self._width, 0, self._end) - self._first
        averages: np.ndarray = (sums[stop] - sums[start]) / np.maximum(1, stop - start)
        return averages
