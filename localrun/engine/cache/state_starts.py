"""From what a sequence can go on that has a state: the choice, without doing anything.

whole state    its slot, taken over; the tokens go on behind all that it was computed from
copy           a checkpoint, and a slot with the cells of full attention up to there
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.cache.radix import common_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.cache.checkpoints import Checkpoint, Checkpoints
    from localrun.engine.llama.lora_adapters import AdapterSet


@dataclass(frozen=True, slots=True)
class Computed:
    """What the contents of a slot were computed from."""

    tokens: list[int]
    adapters: AdapterSet

    def goes_on_to(self, wanted: Computed) -> bool:
        """Return whether more tokens follow these."""
        length = len(self.tokens)
        return (
            length < len(wanted.tokens)
            and self.adapters == wanted.adapters
            and self.tokens == wanted.tokens[:length]
        )

    def has(self, checkpoint: Checkpoint) -> bool:
        """Return whether the cells that belong to a copy are among these."""
        if len(self.tokens) < checkpoint.length or self.adapters != checkpoint.adapters:
            return False
        return common_length(self.tokens, [*checkpoint.tokens]) == checkpoint.length


@dataclass(frozen=True, slots=True)
class Start:
    """Where a sequence begins: nowhere, in a slot as it is, or from a copy."""

    length: int = 0
    slot: int | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """What there is to choose from."""

    kept: Mapping[int, Computed]  # by slot; each may be taken over
    running: Mapping[int, Computed]
    checkpoints: Checkpoints
    has_cells: bool  # besides the states

    def best(self, wanted: Computed) -> Start:
        """Return the longest; its last token is always computed."""
        wholes = [
            Start(len(kept.tokens), slot)
            for slot, kept in self.kept.items()
            if kept.goes_on_to(wanted)
        ]
        whole = max(wholes, key=lambda start: start.length, default=Start())
        for checkpoint in self.checkpoints.find(wanted.tokens[:-1], wanted.adapters):
            if checkpoint.length <= whole.length:
                break
            slot = self._holder(checkpoint) if self.has_cells else None
            if slot is not None or not self.has_cells:
                return Start(checkpoint.length, slot, checkpoint)
        return whole

    def _holder(self, checkpoint: Checkpoint) -> int | None:
        for slots in (self.kept, self.running):
            for slot, computed in slots.items():
                if computed.has(checkpoint):
                    return slot
        return None
