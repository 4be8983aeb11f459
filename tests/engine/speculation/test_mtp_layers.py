"""Which tokens and hidden states the MTP layers compute, and on a real model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.scheduler import ScheduledChunk
from localrun.engine.speculation.mtp_context import MtpInputs, MtpOutput, draft_one_by_one
from localrun.engine.speculation.mtp_layers import MtpLayers
from tests.engine.speculation.sequences import FakeFeatures, answering

if TYPE_CHECKING:
    from localrun.engine.sequence import Sequence

WIDTH = 2


@dataclass
class FakeLayers:
    """Predicts the next number, and checks what it computes.

    The hidden state of a token is the token itself, that of an input one more.
    """

    width: int = WIDTH
    capacity: int = 512
    cells: dict[int, dict[int, int]] = field(default_factory=dict)  # tokens by id and position
    is_full: bool = False
    num_inputs: list[int] = field(default_factory=list)  # of each call

    @property
    def features(self) -> FakeFeatures:
        return FakeFeatures(self.width)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def draft(self, inputs: list[MtpInputs], lengths: list[int]) -> list[list[int]]:
        return draft_one_by_one(self.compute, inputs, lengths)

    def compute(self, inputs: list[MtpInputs]) -> list[MtpOutput] | None:
        if self.is_full:
            return None
        self.num_inputs.append(sum(len(each.tokens) for each in inputs))
        return [self._compute(each) for each in inputs]

    def truncate(self, seq_id: int, position: int) -> None:
        held = self.cells.get(seq_id, {})
        self.cells[seq_id] = {p: token for p, token in held.items() if p < position}

    def _compute(self, inputs: MtpInputs) -> MtpOutput:
        held = self.cells.setdefault(inputs.seq_id, {})
        assert inputs.hidden.shape == (len(inputs.tokens), WIDTH)
        for number, token in enumerate(inputs.tokens):
            position = inputs.position + number
            assert not held or max(held) == position - 1
            assert inputs.hidden[number, 0] == token - 1  # the state of the token before
            held[position] = token
        token = inputs.tokens[-1]
        return MtpOutput(token + 1, np.full(WIDTH, token, np.float32))


@pytest.fixture
def layers() -> FakeLayers:
    return FakeLayers()


def compute(mtp: MtpLayers, seq: Sequence, *drafts: int) -> None:
    """Compute the pending tokens of a sequence, as the model does."""
    chunk = ScheduledChunk(seq, seq.num_pending, drafts)
    tokens = [*seq.tokens[seq.num_computed :], *drafts]
    mtp.observe(chunk, np.repeat(np.array(tokens, np.float32)[:, np.newaxis], WIDTH, axis=1))
    seq.num_computed = len(seq.tokens)


def counting(length: int) -> Sequence:
    """Return a sequence that counts from 0, with nothing computed."""
    seq = answering([])
    seq.tokens[:] = range(length)
    seq.num_computed = 0
    return seq


def draft(mtp: MtpLayers, seq: Sequence, length: int = 3) -> tuple[int, ...]:
    assert mtp.acceptance(seq) is not None
    return mtp.drafts({seq: length}).get(seq, ())


def test_drafts_follow_the_pending_token(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(6)
    compute(mtp, seq)
    seq.tokens.append(6)

    assert draft(mtp, seq) == (7, 8, 9)
    assert layers.num_inputs == [6, 1, 1]


def test_only_new_tokens_are_computed_and_rejected_ones_are_removed(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(6)
    compute(mtp, seq)
    seq.tokens.append(6)
    drafts = draft(mtp, seq)
    compute(mtp, seq, *drafts)  # of which the first is accepted
    seq.tokens += [7, 8]
    seq.num_computed = 8

    assert draft(mtp, seq) == (9, 10, 11)
    assert layers.num_inputs[3:] == [2, 1, 1]


def test_a_sequence_may_decline_the_draft_model_but_not_the_models_own_layers(
    layers: FakeLayers,
) -> None:
    for is_draft_model in (False, True):
        mtp, seq = MtpLayers(layers, 2, is_draft_model=is_draft_model), counting(6)
        seq.uses_draft_model = False
        compute(mtp, seq)
        seq.tokens.append(6)

        assert (mtp.acceptance(seq) is None) == is_draft_model


def test_steps_without_drafts_are_caught_up(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(6)
    for token in range(6, 40):
        compute(mtp, seq)
        seq.tokens.append(token)

    assert draft(mtp, seq, 1) == (40,)
    assert layers.num_inputs == [39]


def test_a_long_prompt_is_known_by_its_end(layers: FakeLayers) -> None:
    layers.capacity = 33
    mtp, seq = MtpLayers(layers, 2), counting(100)
    compute(mtp, seq)
    seq.tokens.append(100)

    assert draft(mtp, seq, 1) == (101,)
    assert min(layers.cells[1]) == 100 - 32 + 1
    for token in range(101, 300):
        compute(mtp, seq)
        seq.tokens.append(token)
    assert draft(mtp, seq, 1) == (300,)
    assert len(layers.cells[1]) <= 32


def test_a_prefix_from_the_cache_is_unknown_to_the_layers(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(10)
    seq.num_computed = 7
    compute(mtp, seq)
    seq.tokens.append(10)

    assert draft(mtp, seq, 1) == (11,)
    assert sorted(layers.cells[1]) == [8, 9, 10]


def test_tokens_that_are_computed_again_after_a_preemption_are_taken(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(10)
    compute(mtp, seq)
    seq.tokens.append(10)
    draft(mtp, seq)
    seq.num_computed = 0
    compute(mtp, seq)
    seq.tokens.append(11)

    assert draft(mtp, seq, 2) == (12, 13)


def test_a_sequence_after_a_context_shift_begins_anew(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(10)
    compute(mtp, seq)
    seq.tokens.append(10)
    draft(mtp, seq)
    del seq.tokens[:4]
    seq.num_dropped, seq.num_computed = 4, 0
    assert mtp.acceptance(seq) is None
    compute(mtp, seq)
    seq.tokens.append(11)

    assert draft(mtp, seq, 1) == (12,)


def test_without_cells_there_is_no_draft(layers: FakeLayers) -> None:
    mtp, seq = MtpLayers(layers, 2), counting(10)
    compute(mtp, seq)
    seq.tokens.append(10)
    layers.is_full = True

    assert draft(mtp, seq) == ()
    layers.is_full = False
    assert draft(mtp, seq, 1) == (11,)


def test_a_retired_sequence_leaves_no_cells_and_its_id(layers: FakeLayers) -> None:
    mtp = MtpLayers(layers, 1)
    first, second = counting(5), counting(5)
    compute(mtp, first)
    compute(mtp, second)
    first.tokens.append(5)
    draft(mtp, first)

    assert mtp.acceptance(second) is None  # no id is free
    mtp.retire(first)
    assert not layers.cells[0]
    second.num_computed = 0
    compute(mtp, second)
    second.tokens.append(5)
    assert draft(mtp, second, 1) == (6,)


def test_sequences_draft_together(layers: FakeLayers) -> None:
    mtp = MtpLayers(layers, 2)
    pair = [counting(5), counting(9)]
    for seq in pair:
        compute(mtp, seq)
        seq.tokens.append(len(seq.tokens))

    drafts = mtp.drafts({pair[0]: 1, pair[1]: 3})

    assert [drafts[seq] for seq in pair] == [(6,), (10, 11, 12)]
    assert layers.num_inputs == [5 + 9, 1, 1]
