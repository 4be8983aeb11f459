"""What the encoder does around an encode."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from localrun.engine.media.encoder import MediaEncoder
from localrun.engine.media.library import MediaLibrary
from localrun.engine.threads import RECENT_S, WINDOW_S, ThreadGauge
from localrun.hardware.contention import CpuUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.media.projector import LoadedProjector

NUM_THREADS = 2


class Machine:
    """Two processors, on which another program ran until the encode begins."""

    def __init__(self) -> None:
        self.now = self.ran = self.idle = 0.0
        self.num_runnable = 1

    def read(self) -> CpuUsage:
        return CpuUsage(self.now, {"1": (self.ran, 0.0)}, self.idle)

    def encode(self, _chunk: MediaChunk, go_on: Callable[[], bool]) -> None:
        """Encode with all threads, which spin behind it."""
        for _ in range(5):
            self.now += WINDOW_S
            self.ran += NUM_THREADS * WINDOW_S
            self.num_runnable = NUM_THREADS
            go_on()


def test_the_step_behind_an_encode_takes_its_threads_for_no_other_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    gauge = ThreadGauge(NUM_THREADS, machine.read, lambda: machine.num_runnable)
    monkeypatch.setattr("os.cpu_count", lambda: NUM_THREADS)
    monkeypatch.setattr("time.monotonic", lambda: machine.now)
    projector = cast("LoadedProjector", machine)
    encoder = MediaEncoder(projector, MediaLibrary(0), gauge=gauge)
    machine.now += 2 * RECENT_S

    encoder.encode(cast("MediaChunk", None), lambda: True)

    assert gauge.count(machine.now) == NUM_THREADS
