"""A sound at another rate is the same whatever blocks it comes in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.media.resampling import Resampler

RATES = st.sampled_from([7, 80, 110, 160, 225, 441, 480, 960, 3840])
TARGET = 160


def resampled(samples: np.ndarray, source: int, cuts: list[int]) -> np.ndarray:
    resampler = Resampler(source, TARGET)
    blocks = [resampler.push(block) for block in np.split(samples, sorted(cuts))]
    return np.concatenate([*blocks, resampler.finish()])


@settings(deadline=None)
@given(RATES, st.integers(1, 3000), st.lists(st.integers(0, 3000), max_size=6))
def test_blocks_make_no_difference(source: int, count: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)

    whole = resampled(samples, source, [])

    assert len(whole) == max(1, round(count * TARGET / source))
    assert np.allclose(resampled(samples, source, cuts), whole, atol=1e-6)


def test_a_constant_stays_one_up_to_both_ends() -> None:
    for source in (7, 80, 441, 3840):
        assert np.allclose(resampled(np.ones(2000, np.float32), source, [700]), 1, atol=1e-6)


def test_what_was_used_is_forgotten() -> None:
    resampler = Resampler(441, 160)
    for _ in range(100):
        resampler.push(np.ones(1000, np.float32))

    assert len(resampler._samples) < 2000


def test_nothing_becomes_nothing() -> None:
    assert len(resampled(np.empty(0, np.float32), 441, [])) == 0
