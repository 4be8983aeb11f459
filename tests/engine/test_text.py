from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.text import TextStream


def texts_of(pieces: list[bytes], stops: tuple[str, ...]) -> str:
    stream = TextStream(stops)
    text = "".join(stream.push(piece) for piece in pieces)
    return text if stream.is_stopped else text + stream.flush()


def naive(whole: str, stops: tuple[str, ...]) -> str:
    """Cut before the stop string that is complete first."""
    for end in range(1, len(whole) + 1):
        starts = [end - len(stop) for stop in stops if whole[:end].endswith(stop)]
        if starts:
            return whole[: min(starts)]
    return whole


@given(
    st.text(alphabet="ab€😀\n", max_size=30),
    st.lists(st.text(alphabet="ab€\n", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=60),
)
def test_any_cutting_gives_the_text_before_the_first_stop_string(
    whole: str, stops: list[str], sizes: list[int]
) -> None:
    data, pieces = whole.encode(), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    pieces.append(data)

    assert texts_of(pieces, tuple(stops)) == naive(whole, tuple(stops))


def test_an_emoji_in_four_tokens_arrives_whole() -> None:
    stream = TextStream()

    texts = [stream.push(bytes([byte])) for byte in "😀".encode()]

    assert texts == ["", "", "", "😀"]


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    stream = TextStream(["END"])

    assert stream.push(b"an EN") == "an "
    assert stream.push(b"TRY") == "ENTRY"
    assert not stream.is_stopped


def test_a_stop_string_over_three_tokens_is_not_in_the_text() -> None:
    stream = TextStream(["END"])

    texts = [stream.push(piece) for piece in (b"the E", b"N", b"D and more")]

    assert texts == ["the ", "", ""]
    assert stream.is_stopped
    assert stream.push(b"more") == ""


def test_it_tells_which_stop_string_ended_it() -> None:
    stream = TextStream(["more", "END"])

    assert stream.stop is None
    stream.push(b"the END and more")

    assert stream.stop == "END"


def test_bytes_that_are_no_text_become_replacement_characters_at_the_end() -> None:
    stream = TextStream()

    assert stream.push(b"a\xe2\x82") + stream.flush() == "a�"
