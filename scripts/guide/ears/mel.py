"""Mel spectrogram of llama.cpp's audio encoder ``qwen3tts_spkenc``, in numpy.

Magnitudes of windows of 1024 samples every 256, in bands of the Slaney scale, as natural logarithms
with a floor. A sound of N samples has N // 256 frames; nothing depends on how loud or long it is.
"""

from __future__ import annotations

from functools import cache

import numpy as np

RATE = 24_000  # samples a second
WINDOW, HOP = 1024, 256  # samples
FLOOR = 1e-5
LINEAR_HZ, HZ_A_MEL = 1000.0, 200 / 3  # below this frequency a mel has so many Hz
LOG_STEP = np.log(6.4) / 27  # above it


def log_mel(samples: np.ndarray, num_bands: int) -> np.ndarray:
    """Return the spectrogram of mono samples at `RATE`, float32 of shape (num_bands, frames)."""
    padded = np.pad(samples.astype(np.float32), (WINDOW - HOP) // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    magnitudes = np.abs(np.fft.rfft(frames * _window(), axis=1)).astype(np.float32)
    return np.log(np.maximum(magnitudes @ _bands(num_bands).T, FLOOR)).T


@cache
def _window() -> np.ndarray:
    """Return Hann's window, periodic."""
    return (0.5 * (1 - np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))).astype(np.float32)


@cache
def _bands(count: int) -> np.ndarray:
    """Return the triangular filters of equal area, shape (count, WINDOW // 2 + 1)."""
    edges = _hz(np.linspace(0, _mel(RATE / 2), count + 2))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    return filters.astype(np.float32)


def _mel(hz: float) -> float:
    return float(LINEAR_HZ / HZ_A_MEL + np.log(hz / LINEAR_HZ) / LOG_STEP)


def _hz(mel: np.ndarray) -> np.ndarray:
    first_log = LINEAR_HZ / HZ_A_MEL
    above = LINEAR_HZ * np.exp((mel - first_log) * LOG_STEP)
    hz: np.ndarray = np.where(mel < first_log, mel * HZ_A_MEL, above)
    return hz
