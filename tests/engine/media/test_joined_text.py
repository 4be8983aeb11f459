"""Text in the batch of a medium has the logits that it has in a batch of its own.

The joined computation takes the rows of the text from the file, and computes more rows at once.
With exact arithmetic the logits are equal. With flash attention and half-precision cells, a batch
of another size rounds differently, for text alone as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.params import LoadOptions
from tests.engine.media.seeing import LIMITS, Pair, Seeing, picture, tone
from tests.engine.media.test_answers import AFTER, BEFORE, EXACT

if TYPE_CHECKING:
    from localrun.engine.scheduler import ScheduledChunk
    from tests.engine.media.conftest import OpenPair
    from tests.engine.media.seeing import Prompt

JOINING = ("janus", "idefics3", "omni", "ultravox", "guide")  # guide's table is quantized
SMALL_STEPS = replace(LIMITS, step_tokens=24)
TEXT = "The quick brown fox jumps over the lazy dog. " * 8
EXACT_ROUNDING = 0.05  # of logits up to 13; a row of another token changes them by 8 and more
ROUNDING_FACTOR = 4  # of how much it changes those behind text alone


@pytest.fixture(params=JOINING)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prompt(family: str) -> Prompt:
    if family == "ultravox":
        return [BEFORE, tone(1), AFTER]
    return [BEFORE, picture(1, 640, 480) if family == "idefics3" else picture(1), AFTER]


def apart(pair: Pair) -> Pair:
    """Return the pair without rows of text, so that text has batches of its own."""
    return Pair(pair.model, pair.projector, library=pair.library)


def logits_behind(seeing: Seeing, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return the logits behind a prompt, which is computed anew."""
    sampler = seeing.context._sampler
    recorded: list[np.ndarray] = []
    sample = sampler.sample

    def record(outputs: list[tuple[ScheduledChunk, int]]) -> list[list[int]]:
        recorded.extend(sampler.logits(index).copy() for _, index in outputs)
        return sample(outputs)

    with monkeypatch.context() as patch:
        patch.setattr(sampler, "sample", record)
        seeing.ask(prompt, new=1)
    seeing.close()
    (logits,) = recorded
    return logits


def test_joined_text_has_the_logits_of_separate_text(
    family: str, open_family: OpenPair, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_family(family)

    joined = logits_behind(Seeing(pair, options=EXACT), prompt, monkeypatch)
    separate = logits_behind(Seeing(apart(pair), options=EXACT), prompt, monkeypatch)

    assert pair.rows is not None
    assert np.abs(joined - separate).max() < EXACT_ROUNDING


def test_joined_text_is_rounded_as_a_batch_of_another_size(
    family: str, open_family: OpenPair, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, options = open_family(family), LoadOptions()

    joined = logits_behind(Seeing(pair, options=options), prompt, monkeypatch)
    separate = logits_behind(Seeing(apart(pair), options=options), prompt, monkeypatch)
    whole = logits_behind(Seeing(pair, options=options), [TEXT], monkeypatch)
    in_steps = logits_behind(Seeing(pair, SMALL_STEPS, options), [TEXT], monkeypatch)

    rounding = np.abs(whole - in_steps).max()
    assert rounding < 0.5
    assert np.abs(joined - separate).max() <= ROUNDING_FACTOR * rounding
