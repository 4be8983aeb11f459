"""Sequences for tests of draft sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    import numpy as np


def decoding(count: int) -> list[Sequence]:
    """Return sequences with a generated token."""
    return [answering([1], number=number) for number in range(count)]


def answering(tokens: list[int], *, model_name: str = "", number: int = 1) -> Sequence:
    """Return a sequence that has generated tokens behind a prompt of two."""
    seq = Sequence(request_id=number, tokens=[900, 901], max_tokens=10**6, model_name=model_name)
    seq.tokens += tokens
    seq.num_computed = len(seq.tokens) - 1
    return seq


def ended(tokens: list[int], *, model_name: str = "") -> Sequence:
    """Return a sequence that has finished."""
    seq = answering(tokens, model_name=model_name)
    seq.finish = FinishReason.STOP
    return seq


@dataclass
class FakeFeatures:
    """What a context outputs for a draft source that nothing computes."""

    width: int

    def keep(self, handle: object) -> None:
        """Nothing is computed."""

    def read(self, handle: object, num_tokens: int) -> np.ndarray:
        raise NotImplementedError
