"""Layout rule: whether running sequences are computed faster in unified cells or in streams.

In unified cells each computed token looks at the cells of all sequences, but cells that several
sequences share are read once for all of them. In streams each token looks at its own sequence
only, and each sequence has its own copy of a shared prefix. So streams are faster if the sequences
have more tokens for themselves than in common:

    unified   if  shared >= own        and for one sequence, and with adapters
    streams   if  shared < own         own + shared = tokens of all sequences

A change of the layout moves all computed tokens, which costs as much as some steps save. Pure
bookkeeping: the rule knows tokens, but no cells.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from localrun.engine.cache.kv_cache import CellLayout
from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence

HOLD_STEPS = 8  # a move costs as much as some eight steps save
MIN_LOOKS = 1024  # at cells of other sequences, in a step; fewer cost less than a millisecond
LONG_PROMPT_TOKENS = 256  # to be computed, for which a change does not wait


class LayoutRule:
    """The better layout, once it has been better for some steps."""

    def __init__(self) -> None:
        self._members: tuple[tuple[int, int, int], ...] = ()
        self._num_shared = 0
        self._num_held = 0  # steps in which the other layout would have been faster

    def choose(self, running: Sequences[Sequence], current: CellLayout) -> CellLayout:
        """Return the layout of the next step; called once a step."""
        if len(running) <= 1 or self._best(running, current) is current:
            self._num_held = 0
            return current
        self._num_held += 1
        num_pending = sum(seq.num_pending for seq in running)
        num_computed = sum(seq.num_computed for seq in running)
        pays_at_once = num_pending >= max(LONG_PROMPT_TOKENS, num_computed)
        if self._num_held < HOLD_STEPS and not pays_at_once:
            return current
        self._num_held = 0
        return CellLayout.UNIFIED if current is CellLayout.STREAMS else CellLayout.STREAMS

    def _best(self, running: Sequences[Sequence], current: CellLayout) -> CellLayout:
        num_tokens = sum(len(seq.tokens) for seq in running)
        if 2 * self._count_shared(running) >= num_tokens:
            return CellLayout.UNIFIED
        has_few = (len(running) - 1) * num_tokens < MIN_LOOKS
        return current if has_few else CellLayout.STREAMS

    def _count_shared(self, running: Sequences[Sequence]) -> int:
        """Return the tokens in common with another sequence; counted when members change."""
        members = tuple((seq.request_id, seq.num_prompt, seq.num_dropped) for seq in running)
        if members != self._members:
            self._members, self._num_shared = members, num_shared_tokens(running)
        return self._num_shared


def num_shared_tokens(sequences: Sequences[Sequence]) -> int:
    """Return how many tokens of sequences are in a prefix that another one has too."""
    ordered = sorted(seq.tokens for seq in sequences)
    common = [common_prefix_length(*pair) for pair in pairwise(ordered)]
    return sum(max(pair) for pair in pairwise([0, *common, 0]))
