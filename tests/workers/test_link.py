from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.workers.link import MAX_FRAME_BYTES, FrameReader, data_head, pulse

PARTS = st.lists(st.one_of(st.binary(min_size=1, max_size=50), st.floats(0, 1e9)), max_size=20)


@given(PARTS, st.lists(st.integers(1, 30), min_size=1))
def test_data_and_pulses_arrive_in_any_division(
    parts: list[bytes | float], sizes: list[int]
) -> None:
    stream = b"".join(
        pulse(part) if isinstance(part, float) else data_head(len(part)) + part for part in parts
    )
    pulses: list[float] = []
    reader, data, number = FrameReader(pulses.append), b"", 0

    while stream:
        size = sizes[number % len(sizes)]
        data += b"".join(reader.data(stream[:size]))
        stream, number = stream[size:], number + 1

    assert data == b"".join(part for part in parts if isinstance(part, bytes))
    assert pulses == [part for part in parts if isinstance(part, float)]


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(FrameReader().data(b"Segmentation fault\n"))
    with pytest.raises(ValueError, match="a frame of"):
        list(FrameReader().data(data_head(MAX_FRAME_BYTES + 1)))
