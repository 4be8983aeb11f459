from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.remote.lines import LONGEST_EVENT, EventLines, EventTooLongError

STREAM = (
    b': comment\nevent: x\ndata: {"a":1}\n\ndata:two\r\n\r\ndata: a\rdata: b\r\rid: 3\n\ndata: end'
)
EVENTS = [b'{"a":1}', b"two", b"a\nb", b"end"]


def events_of(pieces: list[bytes]) -> list[bytes]:
    lines = EventLines()
    return [event for piece in pieces for event in lines.push(piece)] + lines.finish()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(places)]

    assert events_of(pieces) == EVENTS


def test_an_event_comes_as_soon_as_it_is_complete() -> None:
    lines = EventLines()

    assert lines.push(b"data: a\n") == []
    assert lines.push(b"\n") == [b"a"]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 65536, b"data: x\n" * 8192, b"y" * 65536])
def test_an_endless_event_is_refused_before_it_is_large(piece: bytes) -> None:
    lines = EventLines()
    pieces = [piece] * (10 * LONGEST_EVENT // len(piece))

    with pytest.raises(EventTooLongError):
        list(map(lines.push, pieces))


def test_small_pieces_of_a_long_line_cost_no_more_than_its_length() -> None:
    lines = EventLines()
    for _ in range(LONGEST_EVENT // 64):
        assert lines.push(b"x" * 8) == []
