"""Background pacing: how much of a step background sequences get beside interactive ones.

Alone, background sequences are computed like all others. While an interactive sequence runs:

    its prompt is pending    they wait
    it decodes               as many decode with it as lengthen the step by at most `MAX_RATIO`, by
                             the measured costs, the oldest first; a tile of their prompts is
                             computed once in `PROMPT_STEPS` steps. So fewer than one in twenty of
                             the gaps between the tokens of a stream are longer than that

Costs change with the length of the contexts, so they are measured again and again. Pure
bookkeeping: times are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.pacing.step_costs import StepCosts

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence

MAX_RATIO = 1.25  # of a step with background sequences to the same step without them
PROBE_STEPS = 64  # between two steps without any, and between two with one more than usual
PROMPT_STEPS = 60  # of decoding, between two tiles of a background prompt


@dataclass(frozen=True, slots=True)
class StepMix:
    """How many interactive and background sequences decode in a step, and what else is in it."""

    num_interactive: int
    num_background: int
    has_interactive_prompt: bool
    has_background_prompt: bool
    has_drafts: bool

    @classmethod
    def of(cls, parts: Sequences[tuple[Sequence, bool]]) -> StepMix:
        """Return the mix of sequences, each with whether it has draft tokens."""
        decoding = [seq.is_background for seq, _ in parts if seq.is_decoding]
        prompts = [seq.is_background for seq, _ in parts if not seq.is_decoding]
        return cls(
            num_interactive=decoding.count(False),
            num_background=decoding.count(True),
            has_interactive_prompt=False in prompts,
            has_background_prompt=True in prompts,
            has_drafts=any(has_drafts for _, has_drafts in parts),
        )


class BackgroundPacing:
    """Share of background sequences in the steps of one model."""

    def __init__(self) -> None:
        self._costs = StepCosts()
        self._num_steps = 0  # recorded
        self._since_prompt = 0  # steps since the last one with a background prompt

    def select(self, running: list[Sequence]) -> list[Sequence]:
        """Return the running sequences that the next step may compute, in their order."""
        interactive = [seq for seq in running if not seq.is_background]
        if not interactive or len(interactive) == len(running):
            return running
        if not all(seq.is_decoding for seq in interactive):
            return interactive
        adapters = {seq.adapters for seq in interactive}
        background = [seq for seq in running if seq.is_background and seq.adapters in adapters]
        decoding = [seq for seq in background if seq.is_decoding]
        decoding = decoding[: self._num_beside(len(interactive), len(decoding))]
        prompts = [seq for seq in background if not seq.is_decoding]
        return interactive + decoding + (prompts if self._since_prompt >= PROMPT_STEPS else [])

    def record(self, mix: StepMix, seconds: float) -> None:
        """Record the time of a step."""
        self._num_steps += 1
        self._since_prompt = 0 if mix.has_background_prompt else self._since_prompt + 1
        if mix.has_interactive_prompt or mix.has_background_prompt or mix.has_drafts:
            return
        self._costs.record(mix.num_interactive + mix.num_background, 0, seconds)

    def _num_beside(self, num_interactive: int, num_background: int) -> int:
        """Return how many of the background sequences decode beside the interactive ones."""
        turn = self._num_steps % PROBE_STEPS
        alone_s = self._costs.known_decoding_s(num_interactive)
        if alone_s is None or not turn:
            return 0
        num = 0
        while num < num_background:
            step_s = self._costs.known_decoding_s(num_interactive + num + 1)
            if step_s is None:
                return num + 1  # a step measures it
            if step_s > MAX_RATIO * alone_s:
                break
            num += 1
        return min(num_background, num + int(turn == 1))
