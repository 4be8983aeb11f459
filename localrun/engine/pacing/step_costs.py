"""Costs of steps: running means of the seconds of a decoding step and of a prompt token."""

from __future__ import annotations

WEIGHT = 0.25  # of a new decoding step in a running mean
PROMPT_WEIGHT = 0.5  # of new prompt tokens, whose cost grows along a long prompt
OUTLIER = 2.0  # caps a measurement at so many means: other processes used the CPU
FULL_WEIGHT_TOKENS = 64  # fewer prompt tokens weigh less: a call costs something without any
MIN_SHARE = 0.1  # of a step with both that its prompt tokens take at least


class StepCosts:
    """Measured costs of one loaded model."""

    def __init__(self) -> None:
        self._decoding_s: dict[int, float] = {}  # by the number of decoding sequences
        self.prompt_token_s: float | None = None  # None before anything is measured

    def record(self, num_decoding: int, num_prompt: int, seconds: float) -> None:
        """Record a step of ``num_decoding`` sequences and ``num_prompt`` prompt tokens."""
        if not num_prompt:
            known_s = self._decoding_s.get(num_decoding)
            self._decoding_s[num_decoding] = running_mean(known_s, seconds, WEIGHT)
            return
        prompt_s = max(seconds - self.decoding_s(num_decoding), MIN_SHARE * seconds)
        weight = PROMPT_WEIGHT * min(1.0, num_prompt / FULL_WEIGHT_TOKENS)
        self.prompt_token_s = running_mean(self.prompt_token_s, prompt_s / num_prompt, weight)

    def known_decoding_s(self, num_decoding: int) -> float | None:
        """Return the seconds of a step of so many sequences, None if none was measured."""
        return self._decoding_s.get(num_decoding)

    def decoding_s(self, num_decoding: int) -> float:
        """Return the seconds of a step by the nearest measured number of sequences."""
        if not num_decoding or not self._decoding_s:
            return 0.0
        nearest = min(self._decoding_s, key=lambda known: abs(known - num_decoding))
        return self._decoding_s[nearest]


def running_mean(mean: float | None, new: float, weight: float) -> float:
    """Return the mean that follows ``mean``, or the first one."""
    if mean is None:
        return new
    return mean + weight * (min(new, OUTLIER * mean) - mean)
