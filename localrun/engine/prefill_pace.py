"""Prefill pace: how many prompt tokens a step may take while other sequences decode.

Learned from measured step times: a step with both must last no longer than `STRETCH` steps
that only decode, so that streams keep flowing. Very small models may take `SMOOTH_S`: a
strict ratio would delay their prompts without any visible gain.
"""

from __future__ import annotations

STRETCH = 2.2  # streams tolerate three times their normal gap; the difference is for noise
FIRST_TOKENS = 64  # before anything is measured
SMOOTH_S = 0.005  # 200 tokens a second flow even if steps differ
MIN_TOKENS = 2  # prompts must advance however slow they are
WEIGHT = 0.25  # of a new measurement in a running mean
OUTLIER = 2.0  # caps a measurement at so many means: other processes used the CPU


class PrefillPace:
    """Running means of the seconds of a decoding step and of a prompt token."""

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}  # by the number of decoding sequences
        self._token_s: float | None = None

    def record(self, num_decoding: int, num_prompt: int, seconds: float) -> None:
        """Record a step of ``num_decoding`` sequences and ``num_prompt`` prompt tokens."""
        if num_decoding and not num_prompt:
            self._decode_s[num_decoding] = _mean(self._decode_s.get(num_decoding), seconds)
        elif num_decoding:
            normal = self._normal_s(num_decoding)
            if normal is not None:
                extra = max(seconds - normal, seconds / 10) / num_prompt
                self._token_s = _mean(self._token_s, extra)

    def record_prompt(self, num_prompt: int, seconds: float) -> None:
        """Record a step of prompts alone, while sequences of another adapter set waited."""
        self._token_s = _mean(self._token_s, seconds / num_prompt)

    def prompt_tokens(self, num_decoding: int) -> int:
        """Return the prompt token budget of a step with ``num_decoding`` decoding sequences."""
        normal = self._normal_s(num_decoding)
        if normal is None or self._token_s is None:
            return FIRST_TOKENS
        spare_s = max(STRETCH * normal, SMOOTH_S) - normal
        return _rounded(max(MIN_TOKENS, int(spare_s / self._token_s)))

    def _normal_s(self, num_decoding: int) -> float | None:
        """Return the mean of the nearest measured number of sequences."""
        nearest = min(self._decode_s, key=lambda known: abs(known - num_decoding), default=None)
        return None if nearest is None else self._decode_s[nearest]


def _rounded(count: int) -> int:
    """Return ``count`` with only its two highest bits.

    llama.cpp builds a new graph for every number of tokens, so few different ones are better.
    """
    low_bits = max(0, count.bit_length() - 2)
    return count >> low_bits << low_bits


def _mean(old: float | None, new: float) -> float:
    if old is None:
        return new
    return old + WEIGHT * (min(new, OUTLIER * old) - old)
