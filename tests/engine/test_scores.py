from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.scores import LOWEST_LOGPROB, Scores, TokenScore, log_probabilities
from localrun.engine.text import TextStream


def score(piece: bytes) -> TokenScore:
    return TokenScore(piece, -0.5, ())


def told(pieces: list[bytes], stops: tuple[str, ...]) -> list[tuple[str, list[bytes]]]:
    """Return what each token gives out, and what the end does."""
    text, scores = TextStream(stops), Scores(0)
    deltas = []
    for piece in pieces:
        scores.sampled.append(score(piece))
        released = scores.push(text, piece)
        deltas.append((released, [one.piece for one in scores.release(text)]))
        if text.is_stopped:
            return deltas
    flushed = text.flush()
    return [*deltas, (flushed, [one.piece for one in scores.release(text)])]


@given(
    st.text(alphabet="ab€😀\n", max_size=20),
    st.lists(st.text(alphabet="ab€\n", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
)
def test_scores_are_those_of_the_tokens_that_begin_in_the_text(
    whole: str, stops: list[str], sizes: list[int]
) -> None:
    data, pieces = whole.encode(), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    pieces = [piece for piece in (*pieces, data) if piece]

    deltas = told(pieces, tuple(stops))

    text = "".join(text for text, _ in deltas).encode()
    given_out = [piece for _, scores in deltas for piece in scores]
    starts = [sum(map(len, pieces[:count])) for count in range(len(pieces))]
    assert given_out == [
        piece for piece, start in zip(pieces, starts, strict=True) if start < len(text)
    ]
    shown, scored = b"", b""
    for released, scores in deltas:
        shown, scored = shown + released.encode(), scored + b"".join(scores)
        assert len(scored) <= len(shown) or shown == text  # never ahead of the text


def test_bytes_that_are_no_text_keep_tokens_and_characters_together() -> None:
    assert told([b"\xff", b"\xe2", b"a"], ()) == [
        ("�", [b"\xff"]),
        ("", []),
        ("�a", [b"\xe2", b"a"]),
        ("", []),
    ]


def test_a_token_that_completes_a_stop_string_from_outside_has_no_score() -> None:
    assert told([b"the E", b"ND", b"more"], ("END",)) == [("the ", []), ("", [b"the E"])]
    assert told([b"the", b"END"], ("END",)) == [("the", [b"the"]), ("", [])]


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=50),
    st.integers(0, 20),
    st.data(),
)
def test_log_probabilities_equal_the_plain_formula(
    values: list[float], num_top: int, data: st.DataObject
) -> None:
    logits = np.array(values, dtype=np.float32)
    before = logits.copy()
    token = data.draw(st.integers(0, len(values) - 1))

    logprob, top = log_probabilities(logits, token, num_top)

    exact = np.array(values) - np.log(np.exp(np.array(values)).sum())
    assert logprob == pytest.approx(exact[token], abs=1e-4)
    assert [value for _, value in top] == pytest.approx(
        sorted(exact, reverse=True)[:num_top], abs=1e-4
    )
    assert len({one for one, _ in top}) == min(num_top, len(values))
    assert np.array_equal(logits, before)


def test_an_impossible_token_has_a_number_that_json_knows() -> None:
    logits = np.array([0.0, -np.inf], dtype=np.float32)

    assert log_probabilities(logits, 1, 2) == (LOWEST_LOGPROB, [(0, 0.0), (1, LOWEST_LOGPROB)])
