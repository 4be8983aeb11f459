"""Sounds become samples of one rate, and hostile files become one error."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import soundfile

from localrun.errors import UsageError
from localrun.media import sounds
from localrun.media.sounds import decode_sound

RATE, NUM_MUTATIONS = 16000, 300
FILES = {
    "wav": ("WAV", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", None),
}
RATES = (8000, 16000, 44100)
CASES = [(form, rate) for form in FILES for rate in RATES if (form, rate) != ("opus", 44100)]


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.stack([wave] * channels, axis=1).astype(np.float32)


def encoded(samples: np.ndarray, form: str, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    container, subtype = FILES[form]
    soundfile.write(out, samples, rate, format=container, subtype=subtype)
    return out.getvalue()


def pitch(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


@pytest.mark.parametrize(("form", "rate"), CASES)
def test_each_format_is_read_at_the_rate_of_the_model(form: str, rate: int) -> None:
    samples = decode_sound(encoded(tone(rate=rate, channels=2), form, rate), "x", rate=RATE)

    assert samples.dtype == np.float32
    assert abs(len(samples) - RATE) < RATE // 10
    assert abs(pitch(samples) - 440) < 5


def test_a_sound_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MAX_SECONDS", 2)

    with pytest.raises(UsageError, match="x is longer than"):
        decode_sound(encoded(tone(3.0), "flac"), "x", rate=RATE)


def test_a_header_that_promises_too_much_costs_nothing() -> None:
    data = bytearray(encoded(tone(0.1), "flac")[:256])
    data[21:26] = b"\xff" * 5  # 2^36 samples

    with pytest.raises(UsageError, match=r"^x "):
        decode_sound(bytes(data), "x", rate=RATE)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1aE\xdf\xa3webm", b"fLaC", b"\xff\xfb\x90"])
def test_what_is_no_sound_is_one_error(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^x "):
        decode_sound(data, "x", rate=RATE)


@pytest.mark.parametrize("form", FILES)
def test_mutated_files_end_in_samples_or_in_an_error(form: str) -> None:
    whole, rng = encoded(tone(0.2), form), random.Random(form)  # noqa: S311 - repeatable
    for _ in range(NUM_MUTATIONS):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
        try:
            samples = decode_sound(bytes(data), "x", rate=RATE)
        except UsageError:
            continue
        assert np.isfinite(samples).all()
