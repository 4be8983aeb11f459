"""Thoughts are followed however tokens cut their tags, and end when their tokens are used up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.constraints.thinking_budget import ThinkingBudgetConstraint, ThinkingTracker
from tests.chat.profiles.written import cut

PARTS = st.lists(st.sampled_from(["<think>", "</think>", "hm", "<", "</thi", ">"]), max_size=8)
SIZES = st.lists(st.integers(1, 9), max_size=40)


def followed(pieces: list[str], prompt: str = "") -> ThinkingTracker:
    thought = ThinkingTracker("<think>", "</think>", prompt)
    for piece in pieces:
        thought.push(piece.encode())
    return thought


@given(parts=PARTS, sizes=SIZES)
def test_cutting_changes_nothing_but_the_number_of_tokens(
    parts: list[str], sizes: list[int]
) -> None:
    text = "".join(parts)

    assert followed(cut(text, sizes)).is_open == followed([text]).is_open


def test_tokens_count_from_the_opening_to_the_closing_tag() -> None:
    assert followed(["a", "<think>", "b", "c", "</think>", "d"]).num_tokens == 4
    assert followed(["b", "</thi", "nk>", "d"], prompt="<think>\n").num_tokens == 3
    assert followed(["<think>", "</think>", "d", "<think>", "e"]).num_tokens == 4
    assert followed(["d"], prompt="<think>\n\n</think>\n\n").num_tokens == 0


def test_behind_the_budget_only_the_closing_can_come() -> None:
    pieces = [b"hm", b"\n", b"</think>", b"yes"]
    thought = ThinkingTracker("<think>", "</think>", "<think>")
    constraint = ThinkingBudgetConstraint(thought, pieces, budget=2, closing=[1, 2, 1])
    drawn: list[int] = []
    forced: list[list[int]] = []

    for wish in (0, 0, 0, 0, 0, 3):
        logits = np.zeros(4, dtype=np.float32)
        logits[wish] = 1
        constraint.mask(logits)
        drawn.append(int(logits.argmax()))
        constraint.accept(drawn[-1])
        forced.append(constraint.forced())

    assert drawn == [0, 0, 1, 2, 1, 3]
    assert forced == [[], [1, 2, 1], [2, 1], [1], [], []]
    assert constraint.failure is None
