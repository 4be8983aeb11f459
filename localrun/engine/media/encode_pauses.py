"""Pauses of an encode: places where libmtmd calls back, so that other work can be done.

libmtmd asks before each node of its graph. If the answer is yes, it computes up to and with this
node and calls once more; a False then ends the encode. A pause every few nodes gives streams a step
some thirty times a second. Nodes differ a thousandfold, so a piece ends by the work of its nodes
(`NodeWork`) and the measured time of a unit of work, not by their number: pieces of equal numbers
of nodes are up to four times as long as the mean, and a stream waits for the longest.

Each pause makes the threads of the encode wait for each other, which takes long if other programs
have the processors, so that pauses are rare while nothing is done in them. All of it happens on the
thread that encodes.
"""

from __future__ import annotations

import ctypes
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llama_cpp import mtmd_cpp as mtmd

from localrun.engine.media.node_work import NodeWork
from localrun.engine.pacing.step_costs import WEIGHT, running_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGET_S = 0.018  # of encoding between two pauses, and then the rest of a node
ALONE_S = 0.1  # of this thread's processor time, while nothing else is computed in the pauses
WORK_S = 0.0003  # of processor time in a pause, from which on something was computed in it
_EVAL = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
_FIELD = dict(mtmd.mtmd_context_params._fields_)["cb_eval"]


class EncodePauses:
    """The callback of one projector, and the time of a unit of its work."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.thread_time,
        work_of: Callable[[int], float] | None = None,
    ) -> None:
        """``work_of`` returns the work of a node, given the address of its tensor."""
        self._clock, self._processor_clock = clock, processor_clock
        self._work_of = work_of or NodeWork().of
        self._callback = _EVAL(self._call)  # ctypes keeps no reference to it
        self.native = ctypes.cast(self._callback, _FIELD)
        self._go_on: Callable[[], bool] | None = None
        self._unit_s: float | None = None  # seconds of a unit of work, once measured
        self._is_alone = False  # nothing was computed in the last pause
        self._work = 0.0  # since the last pause
        self._resumed_at = self._processor_resumed_at = 0.0
        self._error: BaseException | None = None
        self.was_stopped = False

    @contextmanager
    def calling(self, go_on: Callable[[], bool]) -> Iterator[None]:
        """Call ``go_on`` in the pauses of the encode in this block; raise what it raised."""
        self._go_on, self._error, self.was_stopped = go_on, None, False
        self._resume()
        try:
            yield
        finally:
            self._go_on = None
        if self._error is not None:
            raise self._error

    def _call(self, tensor: int, is_question: bool, _data: object) -> bool:  # noqa: FBT001 - C's
        if self._go_on is None:
            return not is_question
        if is_question:
            self._work += self._work_of(tensor)
            return self._is_due()
        return self._pause(self._go_on)

    def _is_due(self) -> bool:
        """Return whether the nodes since the last pause take as long as a piece should."""
        if self._unit_s is None:
            return self._work > 0
        return self._work * self._unit_s >= (ALONE_S if self._is_alone else TARGET_S)

    def _pause(self, go_on: Callable[[], bool]) -> bool:
        """Let other work be done; return whether the encode goes on."""
        seconds = self._clock() - self._resumed_at
        processor_paused_at = self._processor_clock()
        processor_s = processor_paused_at - self._processor_resumed_at
        try:
            goes_on = go_on()
        except BaseException as error:  # noqa: BLE001 - it must not pass through C
            self._error, goes_on = error, False
        work = self._work
        self._resume()
        self._is_alone = self._processor_resumed_at - processor_paused_at < WORK_S
        unit_s = (processor_s if self._is_alone else seconds) / work
        self._unit_s = running_mean(self._unit_s, unit_s, WEIGHT)
        self.was_stopped = not goes_on
        return goes_on

    def _resume(self) -> None:
        self._work = 0.0
        self._resumed_at, self._processor_resumed_at = self._clock(), self._processor_clock()
