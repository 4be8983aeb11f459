"""Pieces of a sound: cut where it is quiet, each short enough for one pass of an encoder.

Encoders of speech compute 30 s at a time and pad what is shorter. A cut in the quietest tenth of
the last seconds seldom falls into a word.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_S = 29.0  # libmtmd makes two chunks of 29.99 s
SEARCHED_S = 5.0  # before that end
WINDOW_S = 0.1
LARGEST_SAMPLE = 32767


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of a sound from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    samples: np.ndarray  # float32 of shape (num_samples,)


def cut(blocks: Iterable[np.ndarray], rate: int) -> Iterator[Piece]:
    """Yield the pieces of a sound, which cover it without gap or overlap.

    ``blocks`` are its samples in order; not much more of them than a piece is kept.
    """
    longest, searched = round(LONGEST_S * rate), round(SEARCHED_S * rate)
    start, waiting = 0, np.empty(0, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) > longest:
            first = longest - searched
            length = first + _quietest(waiting[first:longest], round(WINDOW_S * rate))
            yield Piece(start / rate, (start + length) / rate, waiting[:length])
            start, waiting = start + length, waiting[length:]
    if len(waiting):
        yield Piece(start / rate, (start + len(waiting)) / rate, waiting)


def wav_of(samples: np.ndarray, rate: int) -> bytes:
    """Return samples as a wav file of 16 bits; those beyond -1 and 1 are clipped."""
    whole = np.clip(np.rint(samples * (LARGEST_SAMPLE + 1)), -LARGEST_SAMPLE - 1, LARGEST_SAMPLE)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.astype("<i2").tobytes())
    return out.getvalue()


def _quietest(samples: np.ndarray, width: int) -> int:
    """Return the index of the middle of the quietest window of ``width`` samples."""
    num_windows = len(samples) // width
    windows = samples[: num_windows * width].reshape(num_windows, width)
    loudness = np.square(windows, dtype=np.float64).mean(axis=1)
    return int(np.argmin(loudness)) * width + width // 2
