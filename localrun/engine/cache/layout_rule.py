"""Layout rule: in which layout of the cells the running sequences are computed fastest.

In unified cells each computed token looks at the cells of all sequences, but cells that several
sequences share are read once for all of them. In streams each token looks at its own sequence
only, and each sequence has its own copy of a shared prefix. So streams are faster if the sequences
have more tokens for themselves than in common. llama.cpp's flash attention takes one cell after
the other for a single token, and tiles for the tokens of a prompt; products with transposed values
are faster for single tokens of long sequences, and slower for short ones and for prompts:

    unified      if  shared >= own        and for one short sequence, and with adapters
    streams      if  shared < own         own + shared = tokens of all sequences
    transposed   if  shared < own, and the sequences that decode have `long_tokens` on average

A change of the layout moves all computed tokens, which costs as much as some steps save. So values
are transposed only if the answers have enough tokens to come, by what moves have cost on this
machine. From how many tokens on transposed values are faster depends on the processor: the steps
before and behind a change tell, and later changes follow them. Pure bookkeeping: the rule knows
tokens, but no cells; times are passed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.pacing.step_costs import running_mean
from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence

HOLD_STEPS = 8  # a move costs as much as some eight steps save
MIN_LOOKS = 1024  # at cells of other sequences, in a step; fewer cost less than a millisecond
LONG_PROMPT_TOKENS = 256  # to be computed, for which a change does not wait
EXPECTED_STEPS = 256  # until sequences end that may be longer
SAVED_SHARE = 0.4  # of a step of very long sequences, by transposed values
TIME_WEIGHT = 0.5  # of a new measurement in a running mean
WARM_STEPS = 8  # behind a change, which take the memory that the others use
LENGTH_WEIGHT = 0.75  # of a new measurement
SLOW_MOVE_S = 1e-3  # of a token of 112 KiB, where fresh memory is slow
SLOWER = 1.1  # than before: a step that does not stay with transposed values
LEFT_FACTOR = 2.5  # of the length at which that was: the learned one, at least
MOST_FACTOR = 3.0  # of the length of a trial: the learned one, at most
# of a measurement in each step in which it forbids a change: it may have been an outlier
FADING, LENGTH_FADING = 0.999, 0.9998


@dataclass(frozen=True, slots=True)
class _Trial:
    """A change to transposed values, whose first steps are measured."""

    step_s: float  # before it
    members: tuple[int, ...]
    length: float  # tokens of a sequence, the mean


class LayoutRule:
    """The better layout, once it has been better for some steps."""

    def __init__(self, long_tokens: int | None = None) -> None:
        """``long_tokens`` are those of a long sequence; None: values are never transposed."""
        self._least_long_tokens = long_tokens
        # as measured, of one sequence alone and of several
        self._long_tokens = {is_alone: float(long_tokens or 0) for is_alone in (True, False)}
        self._trial: _Trial | None = None
        self._sharing: tuple[tuple[int, int, int], ...] = ()
        self._num_shared = 0
        self._num_held = 0.0  # steps in which another layout would have been faster
        self._layout = self._wanted = CellLayout.UNIFIED
        self._members: tuple[int, ...] = ()
        self._num_steps = 0  # that only decoded, in this layout with these members
        self._steps_s: deque[float] = deque(maxlen=HOLD_STEPS)  # the last of them
        self._move_s: float | None = None  # of a token

    def record_step(self, seconds: float, members: tuple[int, ...]) -> None:
        """Record the time of a step in which each member got one token; they are request ids."""
        if members != self._members:
            self._begin_steps()
            self._members, self._trial = members, None
        self._num_steps += 1
        self._steps_s.append(seconds)
        is_measured = self._num_steps == WARM_STEPS + HOLD_STEPS
        if self._trial is not None and is_measured and self._layout is CellLayout.TRANSPOSED:
            self._learn_from(self._trial, median(self._steps_s))
            self._trial = None

    def record_move(self, seconds: float, num_tokens: int) -> None:
        """Record the time of a change of the layout; a few tokens say nothing about the cost."""
        if num_tokens >= LONG_PROMPT_TOKENS:
            self._move_s = running_mean(self._move_s, seconds / num_tokens, TIME_WEIGHT)

    def move_s(self, num_tokens: int) -> float:
        """Return how many seconds it takes to move tokens, as measured; long if none was."""
        return num_tokens * (self._move_s or SLOW_MOVE_S)

    def choose(
        self, running: Sequences[Sequence], current: CellLayout, num_steps: int = 1
    ) -> CellLayout:
        """Return the layout of the next steps; ``num_steps`` were made since the last call."""
        if current is not self._layout:
            self._layout = current
            self._begin_steps()
        if current is not CellLayout.TRANSPOSED:
            self._trial = None
        was_best, best = self._wanted, self._best(running, current) if running else current
        self._wanted = best
        if best is current:
            self._num_held = 0.0
            return current
        gain = self._gain(running) if best is CellLayout.TRANSPOSED else 1.0
        self._num_held += gain * (num_steps if best is was_best else 1)
        num_pending = sum(seq.num_pending for seq in running)
        num_computed = sum(seq.num_computed for seq in running)
        pays_at_once = num_pending >= max(LONG_PROMPT_TOKENS, num_computed)
        num_moves = 1 if current.is_unified or best.is_unified else 2
        if self._num_held < num_moves * HOLD_STEPS and not pays_at_once:
            return current
        if best is CellLayout.TRANSPOSED and _has_unfinished_long_prompt(running):
            return current  # whose rest is faster with flash attention
        self._num_held = 0.0
        if best is CellLayout.TRANSPOSED:
            self._begin_trial(running, current)
        return best

    def _begin_steps(self) -> None:
        self._num_steps = 0
        self._steps_s.clear()

    def _begin_trial(self, running: Sequences[Sequence], current: CellLayout) -> None:
        """Remember the steps before a change to transposed values.

        In unified cells several sequences look at the cells of all, which streams save as well.
        """
        members = tuple(seq.request_id for seq in running)
        if members != self._members or (len(members) > 1 and current.is_unified):
            return
        step_s = median(self._steps_s) if len(self._steps_s) == HOLD_STEPS else 0.0
        if step_s > 0:
            length = sum(len(seq.tokens) for seq in running) / len(running)
            self._trial = _Trial(step_s, members, length)

    def _learn_from(self, trial: _Trial, step_s: float) -> None:
        """Learn the length of long sequences from the time of steps with transposed values.

        Very long sequences save `SAVED_SHARE` of a step, and those as long as the learned length
        nothing; between them, and below, the share is on a line over the inverse length.
        """
        saved_share = 1 - step_s / trial.step_s
        measured = trial.length * (1 - saved_share / SAVED_SHARE)
        is_alone = len(trial.members) == 1
        known = self._long_tokens[is_alone]
        learned = max(known + LENGTH_WEIGHT * (measured - known), self._least_long_tokens or 0)
        if step_s > SLOWER * trial.step_s:
            learned = max(learned, LEFT_FACTOR * trial.length)
        self._long_tokens[is_alone] = min(learned, MOST_FACTOR * trial.length)

    def _gain(self, running: Sequences[Sequence]) -> float:
        """Return what a step saves with transposed values, as a share of what it saves at most."""
        lengths = [len(seq.tokens) for seq in running if seq.is_decoding]
        return max(0.0, 1 - self._long_tokens[len(running) == 1] * len(lengths) / sum(lengths))

    def _best(self, running: Sequences[Sequence], current: CellLayout) -> CellLayout:
        num_tokens = sum(len(seq.tokens) for seq in running)
        is_alone = len(running) == 1
        if not is_alone and 2 * self._count_shared(running) >= num_tokens:
            return CellLayout.UNIFIED
        is_transposed = current is CellLayout.TRANSPOSED
        if self._pays_transposed(running, is_transposed=is_transposed):
            return CellLayout.TRANSPOSED
        if is_transposed:
            return CellLayout.UNIFIED if is_alone else CellLayout.STREAMS
        has_few = (len(running) - 1) * num_tokens < MIN_LOOKS
        return current if is_alone or has_few else CellLayout.STREAMS

    def _pays_transposed(self, running: Sequences[Sequence], *, is_transposed: bool) -> bool:
        """Return whether transposed values pay.

        Long prompts are computed before such a change. A prompt that comes later is computed in the
        current layout. Sequences that decode must be half as long to stay as to change.
        """
        if self._least_long_tokens is None:
            return False
        is_alone = len(running) == 1
        lengths = [len(seq.tokens) for seq in running if seq.is_decoding]
        least = self._long_tokens[is_alone] * len(lengths)
        if is_transposed:
            return 2 * sum(lengths) >= least and bool(lengths or not _has_long_prompts(running))
        fewest = self._least_long_tokens * len(lengths)
        if not lengths or sum(lengths) < fewest or _has_long_prompts(running):
            return False
        gain = self._gain(running)
        if sum(lengths) < least or gain * EXPECTED_STEPS < HOLD_STEPS:
            faded = LENGTH_FADING * self._long_tokens[is_alone]
            self._long_tokens[is_alone] = max(faded, self._least_long_tokens)
            return False
        if gain * _num_expected_steps(running) >= self._move_steps(running):
            return True
        self._move_s = self._move_s and FADING * self._move_s
        return False

    def _move_steps(self, running: Sequences[Sequence]) -> float:
        """Return in how many steps of very long sequences a move to transposed values pays."""
        step_s = median(self._steps_s) if self._steps_s else 0.0
        if not self._move_s or not step_s:
            return HOLD_STEPS
        num_tokens = sum(seq.num_computed for seq in running)
        return max(HOLD_STEPS, num_tokens * self._move_s / (SAVED_SHARE * step_s))

    def _count_shared(self, running: Sequences[Sequence]) -> int:
        """Return the tokens in common with another sequence; counted when members change."""
        sharing = tuple((seq.request_id, seq.num_prompt, seq.num_dropped) for seq in running)
        if sharing != self._sharing:
            self._sharing, self._num_shared = sharing, num_shared_tokens(running)
        return self._num_shared


def _num_expected_steps(running: Sequences[Sequence]) -> float:
    """Return how many more tokens the sequences that decode get, the mean by their lengths."""
    decoding = [seq for seq in running if seq.is_decoding]
    left = (min(EXPECTED_STEPS, seq.num_left) * len(seq.tokens) for seq in decoding)
    return sum(left) / sum(len(seq.tokens) for seq in decoding)


def _has_long_prompts(running: Sequences[Sequence]) -> bool:
    """Return whether many tokens of prompts are still to be computed."""
    num_pending = sum(seq.num_pending for seq in running if not seq.is_decoding)
    return num_pending >= LONG_PROMPT_TOKENS


def _has_unfinished_long_prompt(running: Sequences[Sequence]) -> bool:
    """Return whether any token of a long prompt is still to be computed."""
    prompts = (seq for seq in running if not seq.is_decoding)
    return any(len(seq.tokens) >= LONG_PROMPT_TOKENS for seq in prompts)


def num_shared_tokens(sequences: Sequences[Sequence]) -> int:
    """Return how many tokens of sequences are in a prefix that another one has too."""
    ordered = sorted(seq.tokens for seq in sequences)
    common = [common_prefix_length(*pair) for pair in pairwise(ordered)]
    return sum(max(pair) for pair in pairwise([0, *common, 0]))
