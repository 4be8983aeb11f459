"""Sounds are cut where they are quiet, and nothing of them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.media.pieces import LONGEST_S, SEARCHED_S, cut, wav_of
from localrun.media.sounds import decode_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 1000


def noise(seconds: float) -> np.ndarray:
    random = np.random.default_rng(int(seconds * 10))
    return random.uniform(-1, 1, int(seconds * RATE)).astype(np.float32)


def blocks(samples: np.ndarray, length: int) -> list[np.ndarray]:
    return [samples[start : start + length] for start in range(0, len(samples), length)]


@pytest.mark.parametrize("length", [700, 65536, 10**6])
@pytest.mark.parametrize("seconds", [0.001, 1, 28.9, 29, 29.1, 58, 61.7, 300])
def test_the_pieces_are_the_sound(seconds: float, length: int) -> None:
    samples = noise(seconds)

    pieces = list(cut(blocks(samples, length), RATE))

    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), samples)
    assert all(0 < piece.end_s - piece.start_s <= LONGEST_S for piece in pieces)
    assert [piece.start_s for piece in pieces[1:]] == [piece.end_s for piece in pieces[:-1]]
    assert (pieces[0].start_s, pieces[-1].end_s) == (0, len(samples) / RATE)
    assert all(piece.end_s - piece.start_s >= LONGEST_S - SEARCHED_S for piece in pieces[:-1])


def test_a_cut_is_where_it_is_quiet() -> None:
    samples = noise(40)
    samples[27 * RATE : 27 * RATE + RATE // 2] *= 0.01

    first, second = cut([samples], RATE)

    assert 27 < first.end_s < 27.5
    assert second.end_s == 40


def test_a_piece_is_cut_before_the_whole_sound_is_decoded() -> None:
    num_decoded = 0

    def decoded() -> Iterator[np.ndarray]:
        nonlocal num_decoded
        for block in blocks(noise(300), RATE):
            num_decoded += 1
            yield block

    ends = [(piece.end_s, num_decoded) for piece in cut(decoded(), RATE)]

    assert all(decoded_s <= end_s + SEARCHED_S + 1 for end_s, decoded_s in ends)


def test_a_piece_of_16_bits_is_read_back_exactly() -> None:
    samples = np.arange(-32768, 32768, dtype=np.float32) / 32768

    assert np.array_equal(decode_sound(wav_of(samples, 16000), "x", rate=16000), samples)


def test_what_is_too_loud_is_clipped() -> None:
    data = wav_of(np.array([-3, 3], dtype=np.float32), 16000)

    assert decode_sound(data, "x", rate=16000).tolist() == [-1, 32767 / 32768]
