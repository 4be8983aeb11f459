from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.cache.checkpoint_policy import (
    MAX_DISTANCE_TOKENS,
    MIN_DISTANCE_TOKENS,
    CheckpointPolicy,
)

END = 9
ENDS = frozenset({END})


def chat(*lengths: int, tail: int = 3) -> list[int]:
    """Return messages of so many tokens, and what asks for the next one."""
    return [token for length in lengths for token in [*[1] * (length - 1), END]] + [2] * tail


def all_positions(tokens: list[int], start: int = 0) -> list[int]:
    policy = CheckpointPolicy(tokens, start, ENDS)
    positions: list[int] = []
    while (position := policy.next) is not None:
        assert policy.reach(position)
        positions.append(position)
    return positions


def test_a_chat_has_checkpoints_behind_its_system_prompt_the_last_answer_and_the_question() -> None:
    tokens = chat(40, 30, 50, 30, 60, 20)

    assert all_positions(tokens) == [40, 210, 230]


def test_a_prompt_without_messages_has_one_before_its_last_token() -> None:
    assert all_positions([1] * 100) == [99]
    assert all_positions([1] * MIN_DISTANCE_TOKENS) == [MIN_DISTANCE_TOKENS - 1]
    assert all_positions([1] * (MIN_DISTANCE_TOKENS - 1)) == []


def test_a_long_prompt_has_more_at_the_ends_of_its_messages() -> None:
    tokens = chat(*[100] * 20)

    assert all_positions(tokens) == [100, 600, 1100, 1600, 1900, 2000]
    assert all_positions([1] * 1200) == [512, 1024, 1199]


def test_what_is_computed_has_none() -> None:
    tokens = chat(40, 30, 50)

    assert all_positions(tokens, 40) == [70, 120]
    assert all_positions(tokens, 119) == [120]
    assert all_positions(tokens, 120) == []


@given(
    st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, END]), min_size=1, max_size=200).map(
        lambda tokens: tokens * 10
    ),
    st.floats(0, 1),
)
def test_places_are_apart_but_not_too_far(tokens: list[int], share: float) -> None:
    start = int(share * (len(tokens) - 1))

    positions = all_positions(tokens, start)

    assert all(start < position < len(tokens) for position in positions)
    distances = [second - first for first, second in pairwise([start, *positions])]
    assert all(distance >= MIN_DISTANCE_TOKENS for distance in distances[:-1])
    assert all(0 < distance <= MAX_DISTANCE_TOKENS + MIN_DISTANCE_TOKENS for distance in distances)
    if len(tokens) >= MIN_DISTANCE_TOKENS:
        assert len(tokens) - (positions[-1] if positions else start) <= MIN_DISTANCE_TOKENS


def test_one_more_is_added_where_none_is_near() -> None:
    policy = CheckpointPolicy([1] * 100, 0, ENDS)
    policy.add(50)
    policy.add(50 + MIN_DISTANCE_TOKENS - 1)

    assert policy.next == 50
    assert not policy.reach(49)
    assert policy.reach(50)
    assert policy.next == 99
