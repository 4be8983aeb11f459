"""Pauses of an encode: places where libmtmd calls back, so that other work can be done.

libmtmd asks before each node of its graph. If the answer is yes, it computes up to there and calls
once more; a False then ends the encode. A pause every few nodes gives streams a step some thirty
times a second. Each pause makes the threads of the encode wait for each other, which takes long if
other programs have the processors, so that pauses are rare while nothing is done in them. All of it
happens on the thread that encodes.
"""

from __future__ import annotations

import ctypes
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llama_cpp import mtmd_cpp as mtmd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGET_S = 0.02  # of encoding between two pauses
ALONE_S = 0.1  # of this thread's processor time, while nothing else is computed in the pauses
WORK_S = 0.0003  # of processor time in a pause, from which on something was computed in it
SHRINK = 1 / 16  # at most, from one pause to the next
FIRST_NODES, MAX_NODES = 4, 512
_EVAL = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
_FIELD = dict(mtmd.mtmd_context_params._fields_)["cb_eval"]


class EncodePauses:
    """The callback of one projector, and the distance of its pauses."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock, self._processor_clock = clock, processor_clock
        self._callback = _EVAL(self._call)  # ctypes keeps no reference to it
        self.native = ctypes.cast(self._callback, _FIELD)
        self._go_on: Callable[[], bool] | None = None
        self._num_nodes = FIRST_NODES  # between two pauses
        self._num_asked = 0  # nodes since the last pause
        self._resumed_at = self._processor_resumed_at = 0.0
        self._error: BaseException | None = None
        self.was_stopped = False

    @contextmanager
    def calling(self, go_on: Callable[[], bool]) -> Iterator[None]:
        """Call ``go_on`` in the pauses of the encode in this block; raise what it raised."""
        self._go_on, self._error, self.was_stopped = go_on, None, False
        self._num_asked = 0
        self._resume()
        try:
            yield
        finally:
            self._go_on = None
        if self._error is not None:
            raise self._error

    def _call(self, _tensor: int, is_question: bool, _data: object) -> bool:  # noqa: FBT001 - C's
        if self._go_on is None:
            return not is_question
        if is_question:
            self._num_asked += 1
            return self._num_asked >= self._num_nodes
        self._num_asked = 0
        return self._pause(self._go_on)

    def _pause(self, go_on: Callable[[], bool]) -> bool:
        """Let other work be done; return whether the encode goes on."""
        seconds = self._clock() - self._resumed_at
        processor_paused_at = self._processor_clock()
        processor_s = processor_paused_at - self._processor_resumed_at
        try:
            goes_on = go_on()
        except BaseException as error:  # noqa: BLE001 - it must not pass through C
            self._error, goes_on = error, False
        self._resume()
        if self._processor_resumed_at - processor_paused_at < WORK_S:
            self._adapt(processor_s, ALONE_S)
        else:
            self._adapt(seconds, TARGET_S)
        self.was_stopped = not goes_on
        return goes_on

    def _resume(self) -> None:
        self._resumed_at, self._processor_resumed_at = self._clock(), self._processor_clock()

    def _adapt(self, seconds: float, target_s: float) -> None:
        """Set the distance of pauses by the time of the last piece; it at most doubles."""
        factor = min(2.0, max(SHRINK, target_s / max(seconds, 1e-6)))
        self._num_nodes = min(MAX_NODES, max(1, round(self._num_nodes * factor)))
