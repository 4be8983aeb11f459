"""Draft tokens from hidden states of the model, by its own MTP layers (multi-token prediction).

EAGLE-3 and DFlash heads, which are files of their own, draft from hidden states in the same way.
The layers need the hidden state of every token, which the model's context computes with the token.
They are kept until the layers compute them, at the next draft of their sequence:

    tokens      [ 0 ......... | start ......... n - 1 | n ]    n is pending in the model
    computed    [ by the layers )
    hidden             [ first ................ n - 1 ]        of the model
    inputs                    (token i, hidden i - 1)  for i in start ... n

The output behind n is the first draft token; its own hidden state is the input of the second one.
At most `MAX_HIDDEN_BYTES` of hidden states are kept for a sequence. What is older, and tokens that
came from the prefix cache, the layers never see: they draft a little worse, and never fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from localrun.engine.speculation.mtp_context import MtpInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.features import Features

ACCEPTANCE = 0.9  # before the first results: the budget bounds what this costs
MAX_HIDDEN_BYTES = 4 * 1024 * 1024  # of one sequence
FLOAT_BYTES = 4


class MtpMemory(Protocol):
    """What computes the layers, see `MtpContext`."""

    width: int  # elements of an input
    capacity: int

    @property
    def features(self) -> Features:
        """Return the rows of the model that become inputs."""

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the inputs for rows of the model, shape (num_tokens, width)."""

    def draft(self, inputs: list[MtpInputs], lengths: list[int]) -> list[list[int]]:
        """Return at most so many draft tokens of each sequence; fewer without free cells."""

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from a position on."""


class _HiddenStates:
    """Hidden states of the tokens [first, end) of a sequence, the last ones of many."""

    def __init__(self, width: int, most: int) -> None:
        self.first = self.end = 0
        self._most = most
        self._rows = np.empty((0, width), np.float32)  # grows up to ``most``

    def write(self, start: int, rows: np.ndarray) -> None:
        """Replace the states from a token on, shape (num_tokens, width)."""
        surplus = len(rows) - self._most
        if surplus > 0:
            start, rows = start + surplus, rows[surplus:]
        if not self.first <= start <= self.end:
            self.first = start
        self._make_room(start, len(rows))
        offset = start - self.first
        self._rows[offset : offset + len(rows)] = rows
        self.end = start + len(rows)

    def between(self, start: int, end: int) -> np.ndarray:
        """Return the states of the tokens [start, end)."""
        return self._rows[start - self.first : end - self.first]

    def _make_room(self, start: int, count: int) -> None:
        """Grow, or else forget the oldest half, so that tokens are moved seldom."""
        num_kept = start - self.first
        if num_kept + count <= len(self._rows):
            return
        if num_kept + count > self._most:
            kept = self._rows[num_kept - min(num_kept, self._most // 2, self._most - count) :]
            kept = kept[: num_kept - (len(self._rows) - len(kept))]
            self.first = start - len(kept)
        else:
            kept = self._rows[:num_kept]
        size = min(self._most, max(2 * len(self._rows), len(kept) + count))
        rows = np.empty((size, self._rows.shape[1]), np.float32)
        rows[: len(kept)] = kept
        self._rows = rows


@dataclass(slots=True)
class _Follower:
    """What the layers know of one sequence."""

    seq_id: int
    num_dropped: int
    hidden: _HiddenStates
    num_computed: int = 0  # tokens up to this one are computed by the layers, or never will be


class MtpLayers:
    """Draft source: greedy decoding of the model's MTP layers, or of a head that works alike."""

    estimates_by_text = False

    def __init__(
        self,
        memory: MtpMemory,
        num_slots: int,
        name: str = "MTP layers",
        *,
        is_draft_model: bool = False,
    ) -> None:
        self.name = name
        self._is_draft_model = is_draft_model  # which sequences may decline
        self._memory = memory
        self._most_hidden = max(1, MAX_HIDDEN_BYTES // (FLOAT_BYTES * memory.width))
        self._most_hidden = min(self._most_hidden, memory.capacity - 1)
        self._free_ids = list(range(num_slots))
        self._followers: dict[Sequence, _Follower] = {}

    @property
    def features(self) -> Features:
        """Return what the model's context outputs of each token for the layers."""
        return self._memory.features

    def observe(self, chunk: ScheduledChunk, hidden: np.ndarray) -> None:
        """Keep the rows of a chunk and its drafts, shape (num_cells, width of the features)."""
        seq = chunk.seq
        if seq.has_media or seq.is_prompt_only:
            return
        if self._is_draft_model and not seq.uses_draft_model:
            return
        follower = self._follower(seq)
        if follower is None:
            return
        follower.hidden.write(seq.num_computed, hidden)  # over those of rejected drafts

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        follower = self._followers.get(seq)
        if follower is None or follower.num_dropped != seq.num_dropped:
            return None
        has_states = follower.hidden.end >= len(seq.tokens) - 1 > follower.hidden.first
        return ACCEPTANCE if has_states else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence."""
        inputs: dict[Sequence, MtpInputs] = {}
        room = self._memory.capacity
        for seq in lengths:
            missing = self._missing(seq)
            if len(missing.tokens) <= room:
                inputs[seq] = missing
                room -= len(missing.tokens)
        if not inputs:
            return {}
        found = self._memory.draft([*inputs.values()], [lengths[seq] for seq in inputs])
        drafts = {seq: tuple(tokens) for seq, tokens in zip(inputs, found, strict=True) if tokens}
        for seq in drafts:
            self._followers[seq].num_computed = len(seq.tokens)
        return drafts

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        follower = self._followers.pop(seq, None)
        if follower is not None:
            self._memory.truncate(follower.seq_id, 0)
            self._free_ids.append(follower.seq_id)

    def _follower(self, seq: Sequence) -> _Follower | None:
        """Return what the layers know of a sequence, from its beginning after a context shift."""
        follower = self._followers.get(seq)
        if follower is not None and follower.num_dropped != seq.num_dropped:
            self.retire(seq)
            follower = None
        if follower is None and self._free_ids:
            hidden = _HiddenStates(self._memory.features.width, self._most_hidden)
            follower = _Follower(self._free_ids.pop(), seq.num_dropped, hidden)
            self._followers[seq] = follower
        return follower

    def _missing(self, seq: Sequence) -> MtpInputs:
        """Return the inputs up to the pending token, after the cells of drafts are freed."""
        follower, last = self._followers[seq], len(seq.tokens) - 1
        start, hidden = min(follower.num_computed, last), follower.hidden
        if hidden.first >= start:  # the layers never see the tokens between
            start = hidden.first + 1
            self._memory.truncate(follower.seq_id, 0)
        else:
            self._memory.truncate(follower.seq_id, start)
        rows = self._memory.encode(hidden.between(start - 1, last))
        return MtpInputs(follower.seq_id, start, seq.tokens[start:], rows)
