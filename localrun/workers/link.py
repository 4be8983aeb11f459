"""Link to a worker: llama.cpp's bytes in frames, with a sign of life in both directions.

    u32, little-endian    below 2^31: so many bytes of llama.cpp's protocol follow
                          2^31: a pulse; the sender's processor seconds follow as f64

llama.cpp waits for a frozen worker for ever, and a computation may take minutes, so that silence
alone decides nothing. A side that sends nothing else sends pulses. A side that hears nothing at all
for `LIMIT_S` gives the other one up. Pulses are sent by the thread that sends the data: no reader
ever waits until it can write.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = struct.Struct("<I")
PULSE = struct.Struct("<Id")
PULSE_MARK = 1 << 31
CHUNK_BYTES = 1 << 16  # of a read: the memory for a larger one is slow to come by
MAX_FRAME_BYTES = 1 << 20
FAR_PULSE_S, NEAR_PULSE_S = 2.0, 5.0  # a worker's, and those of a runner
LIMIT_S = 7.0  # of a worker's silence: an error comes within 10 s
FAR_LIMIT_S = 30.0  # of a runner's silence: the worker exits


def data_head(num_bytes: int) -> bytes:
    """Return what is sent before so many bytes of llama.cpp's protocol."""
    return HEAD.pack(num_bytes)


def pulse(cpu_s: float) -> bytes:
    """Return a sign of life."""
    return PULSE.pack(PULSE_MARK, cpu_s)


class FrameReader:
    """The receiving side of a link, fed with what arrives in any division."""

    def __init__(self, on_pulse: Callable[[float], None] = lambda _: None) -> None:
        self._on_pulse = on_pulse
        self._left = 0  # bytes of the data that has begun
        self._begun = b""  # an incomplete head or pulse

    def data(self, chunk: bytes) -> Iterator[memoryview]:
        """Yield the data in a chunk, without copying it.

        Raises:
            ValueError: a frame is too long: the other side speaks something else.
        """
        if self._begun:
            chunk, self._begun = self._begun + chunk, b""
        view, at = memoryview(chunk), 0
        while at < len(view):
            if self._left:
                part = view[at : at + self._left]
                self._left -= len(part)
                at += len(part)
                yield part
                continue
            size = self._size_of_head(view[at:])
            if size is None:
                self._begun = bytes(view[at:])
                return
            at += size

    def _size_of_head(self, view: memoryview) -> int | None:
        """Return the bytes of the head or pulse, None if it is incomplete."""
        if len(view) < HEAD.size:
            return None
        (number,) = HEAD.unpack_from(view)
        if number == PULSE_MARK:
            if len(view) < PULSE.size:
                return None
            self._on_pulse(PULSE.unpack_from(view)[1])
            return PULSE.size
        if number > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {number} bytes")
        self._left = number
        return HEAD.size
