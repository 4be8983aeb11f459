"""How many tokens of prompts a step may take while other sequences decode.

Learned from the time of steps: a step with both should last no longer than
`STRETCH` steps that only decode, so that nobody sees a stream stumble. Very small
models may take `SMOOTH_S`: a strict ratio would make their prompts wait for nothing.
"""

from __future__ import annotations

STRETCH = 2.2  # streams may see three times their normal gap; the rest is for noise
FIRST_TOKENS = 64  # before anything is measured
SMOOTH_S = 0.005  # two hundred tokens a second flow however the steps differ
LEAST_TOKENS = 2  # prompts must move on however slow they are
WEIGHT = 0.25  # of a new measurement in a running mean
OUTLIER = 2.0  # a step this many times longer than expected counts as so much: others used the CPU


class PrefillPace:
    """Running means of the seconds of a decoding step, and of a token in a prompt."""

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}  # by the number of sequences that decode
        self._token_s: float | None = None

    def note(self, num_decoding: int, num_prompt: int, seconds: float) -> None:
        """Learn from a step of ``num_decoding`` sequences and ``num_prompt`` tokens of prompts."""
        if num_decoding and not num_prompt:
            self._decode_s[num_decoding] = _mean(self._decode_s.get(num_decoding), seconds)
        elif num_decoding:
            normal = self._normal_s(num_decoding)
            if normal is not None:
                extra = max(seconds - normal, seconds / 10) / num_prompt
                self._token_s = _mean(self._token_s, extra)

    def note_prompt(self, num_prompt: int, seconds: float) -> None:
        """Learn from a step of prompts alone, while sequences of another adapter set waited."""
        self._token_s = _mean(self._token_s, seconds / num_prompt)

    def prompt_tokens(self, num_decoding: int) -> int:
        """Return the budget for prompts beside ``num_decoding`` sequences that decode."""
        normal = self._normal_s(num_decoding)
        if normal is None or self._token_s is None:
            return FIRST_TOKENS
        spare_s = max(STRETCH * normal, SMOOTH_S) - normal
        return _rounded(max(LEAST_TOKENS, int(spare_s / self._token_s)))

    def _normal_s(self, num_decoding: int) -> float | None:
        """Return the mean of the nearest number of sequences that was measured."""
        nearest = min(self._decode_s, key=lambda known: abs(known - num_decoding), default=None)
        return None if nearest is None else self._decode_s[nearest]


def _rounded(count: int) -> int:
    """Return ``count`` without all but its first two bits.

    llama.cpp builds its graph anew for every other number of tokens, so few are better.
    """
    low_bits = max(0, count.bit_length() - 2)
    return count >> low_bits << low_bits


def _mean(old: float | None, new: float) -> float:
    if old is None:
        return new
    return old + WEIGHT * (min(new, OUTLIER * old) - old)
