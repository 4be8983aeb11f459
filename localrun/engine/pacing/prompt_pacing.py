"""Prompt pacing: how many prompt tokens a step may compute while other sequences decode.

A sequence without a reader has no rhythm: prompts are computed at once, and then all decode
together. A reader must not wait, so prompts beside a stream get time from one of these:

    lead      the answer is ahead of its reader: a call may last until the reader is up to date
    hold      prompts that were submitted before the first token of the stream came together with
              it: the stream may be held for as long as it waited for that token, or as
              `HELD_TOKENS` of prompts take, all in all
    share     streams have decoded for long enough since the last call

Sequences that decode take part in the call, or in the next one, which has no prompt tokens
(`Scheduler`); so a stream advances by a token at least in every second call. Invariants: a call
beside a reader has `LEAST_TOKENS` prompt tokens or more, or all that are pending; while
prompts are pending, they get at least `PROMPT_SHARE` of the time. Pure bookkeeping: times are
passed in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from localrun.engine.pacing.step_costs import StepCosts
from localrun.engine.params import STEP_TOKENS, TILE_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence

LEAST_TOKENS = TILE_TOKENS  # fewer cost more each
CALL_S = 1.0  # of a call beside readers: a stream that is far ahead should still advance
CALL_STEPS = 128  # that decode: a call beside readers takes no longer; 0.1 s in small models
# Prompts for which any stream that came together with them is held: 16 short ones and what the
# calls around them take. If a few were left over, they would decode alone in the end.
HELD_TOKENS = 3 * STEP_TOKENS // 2
HELD_CALL_S = 2.0  # of a call of prompts that came together with all streams
PROMPT_SHARE = 0.2  # more makes readers wait, less makes a prompt wait for too long


class PromptPacing:
    """Pace of the prompts of one model, from the measured costs of its steps."""

    def __init__(self, call_tokens: int = STEP_TOKENS) -> None:
        """``call_tokens`` are those of a call without readers on a slow machine."""
        self._call_tokens = call_tokens
        self._costs = StepCosts()
        self._decoded_s = 0.0  # by steps since the last one with prompt tokens

    def record(
        self, num_decoding: int, num_prompt: int, seconds: float, *, has_drafts: bool = False
    ) -> None:
        """Record the time of a step; one with draft tokens takes longer, so no cost is learned."""
        if not has_drafts:
            self._costs.record(num_decoding, num_prompt, seconds)
        self._decoded_s = 0.0 if num_prompt else self._decoded_s + seconds

    def num_prompt_tokens(
        self, now: float, decoding: Sequences[Sequence], prompts: Sequences[Sequence]
    ) -> int:
        """Return the most prompt tokens of the next step; 0 if it should only decode."""
        readers = [seq for seq in decoding if seq.reader is not None]
        token_s = self._costs.prompt_token_s
        if not readers or not prompts:
            return self._num_without_readers()
        if token_s is None:
            return LEAST_TOKENS
        num_pending = sum(seq.num_pending for seq in prompts)
        num_least = num_pending if num_pending < 2 * LEAST_TOKENS else LEAST_TOKENS
        oldest_at = min(seq.submitted_at for seq in prompts)
        hold_s = HELD_TOKENS * token_s
        spare_s = min(_spare_s(seq, now, oldest_at, hold_s) for seq in readers)
        decoding_s = self._costs.decoding_s(len(decoding))
        spare_s -= decoding_s
        if spare_s >= num_least * token_s:
            latest_at = max(seq.submitted_at for seq in prompts)
            came_together = all(latest_at <= seq.first_token_at for seq in readers)
            call_s = HELD_CALL_S if came_together else min(CALL_S, CALL_STEPS * decoding_s)
            num_fitting = max(num_least, int(min(spare_s, call_s) / token_s))
            return _whole(num_fitting, num_pending)
        if self._decoded_s >= num_least * token_s * (1 / PROMPT_SHARE - 1):
            return num_least
        return 0

    def _num_without_readers(self) -> int:
        """Return the size of a call that nobody waits for, but those who come meanwhile.

        Fast machines compute more tokens in `CALL_S`, as what a call costs by itself is more there.
        """
        token_s = self._costs.prompt_token_s
        fitting = int(CALL_S / token_s) if token_s else 0
        return max(self._call_tokens, fitting)


def _spare_s(seq: Sequence, now: float, oldest_at: float, hold_s: float) -> float:
    """Return for how long a stream can spare prompts the time, the oldest of ``oldest_at``.

    ``hold_s`` is the time that any stream is held for prompts that came together with it.
    """
    if seq.reader is None:
        return math.inf
    lead_s = seq.reader.lead_s(now)
    if oldest_at > seq.first_token_at:
        return lead_s
    hold_s = max(hold_s, seq.first_token_at - seq.submitted_at)
    return max(0.0, lead_s) + hold_s - seq.reader.waited_s


def _whole(num_fitting: int, num_pending: int) -> int:
    """Return a size for a call that leaves no small rest.

    Only the two highest bits are set, since llama.cpp plans a graph for every other size.
    """
    if num_fitting >= num_pending:
        return num_pending
    low_bits = max(0, num_fitting.bit_length() - 2)
    num_tokens = num_fitting >> low_bits << low_bits
    if num_pending - num_tokens < LEAST_TOKENS:
        return num_pending - LEAST_TOKENS
    return num_tokens
