"""Recordings of sounds: pauses, echo, noise, and what microphones and files leave of them.

The same seed records the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guide.ears.mel import HOP, RATE
from guide.ears.speech import at_rate

if TYPE_CHECKING:
    import random

MOST_SECONDS = 2.5
FILE_RATES = (8000, 11025, 16000, 22050)
LENGTH_STEP = 8  # frames; sounds of equal length are computed together
LEAST_STEPS = 4  # a kernel reaches over 16 frames, whose reflection must exist


def recorded(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """Return a recording of a sound, a whole number of `LENGTH_STEP` frames."""
    if rng.random() < 0.7:
        sound = _faster(sound, rng.uniform(0.8, 1.25))
    before, after = (_pause(rng) for _ in range(2))
    step = HOP * LENGTH_STEP
    most = int(MOST_SECONDS * RATE) // step * step
    num_steps = max(LEAST_STEPS, -(-(before + len(sound) + after) // step))
    num_samples = min(most, num_steps * step)
    placed = np.zeros(num_samples, np.float32)
    heard = sound[: num_samples - before]
    placed[before : before + len(heard)] = heard
    spectrum = np.fft.rfft(placed) * _filter(rng, num_samples)
    if rng.random() < 0.35:
        spectrum *= np.fft.rfft(_echo(rng), num_samples)
    if rng.random() < 0.8:
        level = 10 ** -rng.uniform(0.4, 2.4)  # 8 to 48 dB below the sound
        spectrum += noise(rng, num_samples) * level * (float(sound.std()) or 0.1)
    placed = np.fft.irfft(spectrum, num_samples).astype(np.float32)
    if rng.random() < 0.5:  # a file of a lower rate
        rate = rng.choice(FILE_RATES)
        copy = at_rate(at_rate(placed, RATE, rate), rate, RATE)[:num_samples]
        placed = np.pad(copy, (0, num_samples - len(copy)))
    gain = 10 ** rng.uniform(-1.6, 0.1) / max(1e-3, float(np.abs(placed).max()))
    return (np.round(np.clip(placed * gain, -1, 1) * 32767) / 32767).astype(np.float32)


def noise(rng: random.Random, num_samples: int) -> np.ndarray:
    """Return the spectrum of noise of deviation 1, from white to brown."""
    count = num_samples // 2 + 1
    parts = _generator(rng).standard_normal((2, count), np.float32)
    spectrum = (parts[0] + 1j * parts[1]) / np.arange(1, count + 1) ** rng.choice((0, 0, 0.5, 1))
    power = 2 * float(np.square(np.abs(spectrum)).sum()) / num_samples**2
    scaled: np.ndarray = spectrum / np.sqrt(power)
    return scaled


def _pause(rng: random.Random) -> int:
    """Draw the samples of silence before or behind a sound."""
    return int(RATE * (rng.uniform(0, 0.5) if rng.random() < 0.7 else rng.uniform(0, 0.08)))


def _faster(sound: np.ndarray, factor: float) -> np.ndarray:
    """Return a sound played faster: higher, as of a shorter throat."""
    places = np.arange(0, len(sound) - 1, factor)
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)


def _echo(rng: random.Random) -> np.ndarray:
    """Return what a room makes of a click."""
    tail = _generator(rng).standard_normal(int(RATE * rng.uniform(0.05, 0.3))) * 0.1
    tail *= np.exp(-np.linspace(0, 6, len(tail))) * rng.uniform(0.1, 1)
    tail[0] = 1
    return tail


def _filter(rng: random.Random, num_samples: int) -> np.ndarray:
    """Return the gain by frequency of a microphone, a telephone or a wall."""
    hz = np.fft.rfftfreq(num_samples, 1 / RATE)
    low = rng.choice((0, 0, 60, 150, 300))
    high = rng.choice((3400, 4000, 5500, 8000, 11000, 12000))
    gain = 1 / (1 + (low / np.maximum(hz, 1)) ** 4) / (1 + (hz / high) ** 12)
    knots = (0, 200, 500, 1000, 2000, 4000, 12000)
    decibels = np.interp(hz, knots, [rng.gauss(0, 5) for _ in knots])
    filtered: np.ndarray = gain * 10 ** (decibels / 20)
    return filtered


def _generator(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.randrange(2**31))
