"""Sounds that guide learns to hear: spectrograms, recordings, and words that are no digit."""

from __future__ import annotations

import random

import numpy as np
import pytest
from guide.ears import mel, sounds
from guide.ears.recording import LEAST_STEPS, LENGTH_STEP, recorded
from guide.sample import Split


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(mel.RATE * seconds)) / mel.RATE
    return np.sin(2 * np.pi * hz * time).astype(np.float32)


def test_a_sound_has_a_frame_for_each_hop() -> None:
    spectrogram = mel.log_mel(tone(440), 40)

    assert spectrogram.shape == (40, mel.RATE // mel.HOP)
    assert spectrogram.dtype == np.float32


def test_a_higher_tone_is_loudest_in_a_higher_band() -> None:
    loudest = [int(mel.log_mel(tone(hz), 40).mean(1).argmax()) for hz in (200, 800, 3000, 9000)]

    assert loudest == sorted(set(loudest))


def test_silence_is_the_floor() -> None:
    assert mel.log_mel(np.zeros(4000, np.float32), 8) == pytest.approx(np.log(mel.FLOOR))


def test_a_recording_has_a_whole_number_of_steps_and_stays_in_range() -> None:
    rng = random.Random(1)  # noqa: S311 - not for secrets

    for _ in range(50):
        recording = recorded(rng, sounds.no_speech(rng))
        num_steps, rest = divmod(len(recording), mel.HOP * LENGTH_STEP)
        assert (num_steps >= LEAST_STEPS, rest) == (True, 0)
        assert np.abs(recording).max() <= 1
        assert recording.dtype == np.float32


def test_the_same_seed_records_the_same() -> None:
    first, again = (
        recorded(random.Random(7), tone(300, 0.4))  # noqa: S311 - as above
        for _ in range(2)
    )

    assert first.tobytes() == again.tobytes()


def test_no_other_word_is_a_digit_or_sounds_like_one() -> None:
    alike = {"for", "fore", "to", "too", "won", "ate", "sics", "tree", "Sven"}

    assert not {*sounds.SPOKEN, *alike} & {*sounds.OTHERS}


def test_held_out_words_are_never_trained() -> None:
    train, held_out = ({*sounds.texts(sounds.OTHERS, split)} for split in Split)

    assert len(train) > len(held_out) > 0
    assert not train & held_out
