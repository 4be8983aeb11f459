"""Resume points of a `StateCache`: from which state a new sequence can continue.

idle slot     taken over as it is; the new tokens follow all that it was computed from
checkpoint    restored into a slot, together with the cells of full attention up to there,
              which another slot must hold

Pure search: nothing is copied or changed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.cache.checkpoints import Checkpoint, Checkpoints
    from localrun.engine.llama.lora_adapters import AdapterSet


@dataclass(frozen=True, slots=True)
class ComputedTokens:
    """The tokens and adapters that the contents of a slot were computed from."""

    tokens: list[int]
    adapters: AdapterSet

    def is_prefix_of(self, prompt: ComputedTokens) -> bool:
        """Return whether a longer prompt begins with these tokens."""
        length = len(self.tokens)
        return (
            length < len(prompt.tokens)
            and self.adapters == prompt.adapters
            and self.tokens == prompt.tokens[:length]
        )

    def has_cells_of(self, checkpoint: Checkpoint) -> bool:
        """Return whether the cells up to a checkpoint are among these."""
        if len(self.tokens) < checkpoint.length or self.adapters != checkpoint.adapters:
            return False
        return common_prefix_length(self.tokens, [*checkpoint.tokens]) == checkpoint.length


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a sequence begins: at 0, in an idle slot as it is, or at a checkpoint."""

    length: int = 0  # tokens that need not be computed
    slot: int | None = None  # to take over, or to copy cells from
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoints:
    """The states to choose from."""

    idle: Mapping[int, ComputedTokens]  # by slot; each may be taken over
    running: Mapping[int, ComputedTokens]  # by slot
    checkpoints: Checkpoints
    has_cells: bool  # of full attention, besides the states

    def longest(self, prompt: ComputedTokens) -> ResumePoint:
        """Return the longest one; it never covers the prompt's last token."""
        whole_states = [
            ResumePoint(len(computed.tokens), slot)
            for slot, computed in self.idle.items()
            if computed.is_prefix_of(prompt)
        ]
        whole = max(whole_states, key=lambda point: point.length, default=ResumePoint())
        for checkpoint in self.checkpoints.find(prompt.tokens[:-1], prompt.adapters):
            if checkpoint.length <= whole.length:
                break
            slot = self._slot_with_cells(checkpoint) if self.has_cells else None
            if slot is not None or not self.has_cells:
                return ResumePoint(checkpoint.length, slot, checkpoint)
        return whole

    def _slot_with_cells(self, checkpoint: Checkpoint) -> int | None:
        for slots in (self.idle, self.running):
            for slot, computed in slots.items():
                if computed.has_cells_of(checkpoint):
                    return slot
        return None
