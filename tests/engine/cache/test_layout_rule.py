"""When sequences are computed in streams, and when in unified cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import (
    HOLD_STEPS,
    SAVED_SHARE,
    WARM_STEPS,
    LayoutRule,
    num_shared_tokens,
)
from localrun.engine.sequence import Sequence
from localrun.prefixes import common_prefix_length

UNIFIED, STREAMS, TRANSPOSED = CellLayout
LONG = 400


def sequence(number: int, tokens: list[int]) -> Sequence:
    """Return a sequence of which only the last token is to be computed."""
    seq = Sequence(request_id=number, tokens=tokens, max_tokens=10**6)
    seq.num_computed = len(tokens) - 1
    return seq


def sharing(count: int, shared: int, own: int) -> list[Sequence]:
    return [sequence(n, [7] * shared + [1000 + n] * own) for n in range(count)]


def decoding(count: int, shared: int, own: int) -> list[Sequence]:
    """Return sequences that have generated one token."""
    running = sharing(count, shared, own - 1)
    for seq in running:
        seq.num_computed += 1
        seq.tokens.append(9)
    return running


def chosen(running: list[Sequence], current: CellLayout, steps: int = HOLD_STEPS) -> CellLayout:
    rule = LayoutRule()
    return [rule.choose(running, current) for _ in range(steps)][-1]


def test_sequences_that_share_less_than_they_have_alone_want_streams() -> None:
    assert chosen(sharing(16, 79, 80), UNIFIED) is STREAMS
    assert chosen(sharing(2, 0, 600), UNIFIED) is STREAMS


def test_sequences_that_share_most_of_their_tokens_want_unified_cells() -> None:
    assert chosen(sharing(16, 1000, 50), STREAMS) is UNIFIED
    assert chosen(sharing(16, 1000, 50), UNIFIED) is UNIFIED


def test_one_sequence_stays_where_it_is() -> None:
    assert chosen(sharing(1, 0, 3000), UNIFIED) is UNIFIED
    assert chosen(sharing(1, 0, 3000), STREAMS) is STREAMS


def steps_to_change(
    running: list[Sequence],
    current: CellLayout,
    rule: LayoutRule | None = None,
    most_steps: int = 1000,
) -> tuple[int, CellLayout]:
    """Return after how many steps the layout changes, and to which; 0 if it does not."""
    rule = rule or LayoutRule(LONG)
    for step in range(1, most_steps):
        if (layout := rule.choose(running, current)) is not current:
            return step, layout
    return 0, current


def test_the_rest_of_a_long_prompt_is_computed_before_values_are_transposed() -> None:
    running = [*decoding(1, 0, 100 * LONG), sequence(9, [5] * 3000)]
    running[1].num_computed -= 64

    rule = LayoutRule(LONG)
    assert steps_to_change(running, STREAMS, rule) == (0, STREAMS)
    running[1].num_computed = len(running[1].tokens)
    running[1].tokens.append(9)
    assert steps_to_change(running, STREAMS, rule) == (1, TRANSPOSED)  # held for long enough


def test_steps_of_a_change_that_was_not_made_teach_nothing() -> None:
    rule, running = LayoutRule(LONG), decoding(1, 0, 100 * LONG)
    members = (running[0].request_id,)
    for _ in range(WARM_STEPS):
        rule.record_step(1.0, members)
    assert steps_to_change(running, UNIFIED, rule)[1] is TRANSPOSED
    for _ in range(HOLD_STEPS):
        rule.record_step(1.0, members)

    assert steps_to_change(decoding(1, 0, 2 * LONG), UNIFIED, rule)[1] is TRANSPOSED


def test_long_sequences_that_decode_want_transposed_values() -> None:
    assert steps_to_change(decoding(1, 0, 100 * LONG), UNIFIED) == (HOLD_STEPS + 1, TRANSPOSED)
    assert steps_to_change(decoding(4, 0, 100 * LONG), UNIFIED) == (HOLD_STEPS + 1, TRANSPOSED)
    assert steps_to_change(decoding(1, 0, LONG - 1), UNIFIED) == (0, UNIFIED)


def test_a_change_waits_longer_where_it_saves_less() -> None:
    assert steps_to_change(decoding(1, 0, 2 * LONG), UNIFIED) == (2 * HOLD_STEPS, TRANSPOSED)
    assert steps_to_change(decoding(1, 0, LONG), UNIFIED) == (0, UNIFIED)


def ending_in(num_tokens: int) -> list[Sequence]:
    """Return a very long sequence that gets so many more tokens."""
    (seq,) = decoding(1, 0, 100 * LONG)
    seq.max_tokens = len(seq.tokens) + num_tokens
    return [seq]


def test_values_are_transposed_only_for_enough_tokens_to_come() -> None:
    assert steps_to_change(ending_in(HOLD_STEPS + 1), UNIFIED) == (HOLD_STEPS + 1, TRANSPOSED)
    assert steps_to_change(ending_in(HOLD_STEPS), UNIFIED) == (0, UNIFIED)


@pytest.mark.parametrize(("num_left", "layout"), [(90, UNIFIED), (110, TRANSPOSED)])
def test_moves_that_were_slow_need_more_tokens_to_come(num_left: int, layout: CellLayout) -> None:
    rule = LayoutRule(LONG)
    rule.record_step(1.0, (0,))
    rule.record_move(100 * SAVED_SHARE, 100 * LONG)

    assert steps_to_change(ending_in(num_left), UNIFIED, rule, most_steps=50)[1] is layout


def test_a_move_of_a_few_tokens_says_nothing_about_others() -> None:
    rule = LayoutRule(LONG)
    rule.record_step(1.0, (0,))
    rule.record_move(100.0, 10)

    assert steps_to_change(ending_in(90), UNIFIED, rule)[1] is TRANSPOSED


def test_a_slow_move_does_not_forbid_others_for_ever() -> None:
    rule = LayoutRule(LONG)
    rule.record_step(1.0, (0,))
    rule.record_move(500 * SAVED_SHARE, 100 * LONG)

    assert 500 < steps_to_change(ending_in(1000), UNIFIED, rule)[0] < 1000


def members_of(running: list[Sequence]) -> tuple[int, ...]:
    return tuple(seq.request_id for seq in running)


def flat(running: list[Sequence]) -> CellLayout:
    return UNIFIED if len(running) == 1 else STREAMS


def transposed(rule: LayoutRule, running: list[Sequence], step_s: float) -> None:
    """Let a rule change to transposed values, behind steps of this time."""
    for _ in range(20 * HOLD_STEPS):
        if rule.choose(running, flat(running)) is TRANSPOSED:
            return
        rule.record_step(step_s, members_of(running))
    raise AssertionError


def learn(
    rule: LayoutRule, running: list[Sequence], before_s: float, behind_s: float
) -> CellLayout:
    """Let a rule measure a change to transposed values; return the layout after some more steps."""
    transposed(rule, running, before_s)
    layout = TRANSPOSED
    for step in range(WARM_STEPS + 5 * HOLD_STEPS):
        layout = rule.choose(running, layout)
        if layout is not TRANSPOSED:
            break
        rule.record_step(behind_s if step >= WARM_STEPS else 9.0, members_of(running))
    return layout


@pytest.mark.parametrize("count", [1, 4])
def test_a_change_that_made_steps_slower_is_taken_back(count: int) -> None:
    rule, running = LayoutRule(LONG), decoding(count, 0, 4 * LONG)

    assert learn(rule, running, before_s=1.0, behind_s=1.2) is flat(running)
    assert steps_to_change(running, flat(running), rule) == (0, flat(running))
    longer = decoding(count, 0, 16 * LONG)
    assert steps_to_change(longer, flat(running), rule)[1] is TRANSPOSED


def test_what_several_sequences_taught_says_nothing_about_one_alone() -> None:
    rule = LayoutRule(LONG)
    learn(rule, decoding(4, 0, 4 * LONG), before_s=1.0, behind_s=1.2)

    assert steps_to_change(decoding(1, 0, 4 * LONG), UNIFIED, rule)[1] is TRANSPOSED


def test_a_change_that_saved_nothing_teaches_the_length_of_long_sequences() -> None:
    rule, running = LayoutRule(LONG), decoding(1, 0, 4 * LONG)

    assert learn(rule, running, before_s=1.0, behind_s=1.0) is TRANSPOSED  # to leave costs a move
    assert steps_to_change(running, UNIFIED, rule)[0] > 2 * HOLD_STEPS


def test_a_change_that_saved_what_it_should_teaches_the_length_again() -> None:
    rule, running = LayoutRule(LONG), decoding(1, 0, 4 * LONG)
    learn(rule, running, before_s=1.0, behind_s=1.0)
    slow, _ = steps_to_change(running, UNIFIED, rule)

    learn(rule, running, before_s=1.0, behind_s=1 - SAVED_SHARE * (1 - 1 / 4))

    assert steps_to_change(running, UNIFIED, rule)[0] < slow


def test_a_change_is_tried_again_some_time() -> None:
    rule, running = LayoutRule(LONG), decoding(1, 0, 4 * LONG)
    learn(rule, running, before_s=1.0, behind_s=1.2)

    step, layout = steps_to_change(running, UNIFIED, rule, most_steps=10_000)

    assert (step > 1000, layout) == (True, TRANSPOSED)


def test_a_trial_ends_with_its_sequences() -> None:
    rule, running = LayoutRule(LONG), decoding(1, 0, 4 * LONG)
    transposed(rule, running, 1.0)
    for members in [(0,), (0, 5), (5,), (0,)]:
        for _ in range(WARM_STEPS + HOLD_STEPS - 1):
            assert rule.choose(running, TRANSPOSED) is TRANSPOSED
            rule.record_step(9.0, members)

    assert steps_to_change(running, UNIFIED, rule) == (11, TRANSPOSED)


def test_streams_that_were_slow_in_unified_cells_say_nothing_about_values() -> None:
    rule, running = LayoutRule(LONG), decoding(4, 0, 4 * LONG)
    for _ in range(HOLD_STEPS):
        rule.choose(running, UNIFIED)
        rule.record_step(1.0, members_of(running))
    assert steps_to_change(running, UNIFIED, rule)[1] is TRANSPOSED
    for _ in range(2 * (WARM_STEPS + HOLD_STEPS)):
        assert rule.choose(running, TRANSPOSED) is TRANSPOSED
        rule.record_step(9.0, members_of(running))


def test_a_change_of_streams_waits_twice_as_long() -> None:
    assert steps_to_change(decoding(4, 0, 2 * LONG), STREAMS) == (4 * HOLD_STEPS, TRANSPOSED)


def test_long_sequences_that_share_most_stay_in_unified_cells() -> None:
    assert steps_to_change(decoding(4, 9 * LONG, LONG), UNIFIED) == (0, UNIFIED)
    assert steps_to_change(decoding(4, 9 * LONG, LONG), TRANSPOSED) == (HOLD_STEPS, UNIFIED)


def test_values_are_transposed_only_behind_the_prompts() -> None:
    running = decoding(2, 0, 9 * LONG)
    running[1].num_computed = 0

    assert steps_to_change(running, STREAMS) == (0, STREAMS)
    assert steps_to_change(running, TRANSPOSED) == (0, TRANSPOSED)


def test_prompts_alone_are_not_computed_with_transposed_values() -> None:
    running = decoding(2, 0, 9 * LONG)
    for seq in running:
        seq.num_computed = 0

    assert steps_to_change(running, TRANSPOSED) == (1, STREAMS)
    assert steps_to_change(running[:1], TRANSPOSED) == (1, UNIFIED)


def test_short_sequences_leave_transposed_values() -> None:
    assert steps_to_change(decoding(4, 0, LONG // 2), TRANSPOSED) == (0, TRANSPOSED)
    assert steps_to_change(decoding(4, 0, LONG // 3), TRANSPOSED) == (2 * HOLD_STEPS, STREAMS)
    assert steps_to_change(decoding(1, 0, LONG // 3), TRANSPOSED) == (HOLD_STEPS, UNIFIED)


def test_without_a_bound_values_are_never_transposed() -> None:
    assert chosen(decoding(1, 0, 9999), UNIFIED, steps=99) is UNIFIED
    assert chosen(decoding(4, 0, 9999), STREAMS, steps=99) is STREAMS


def test_short_sequences_stay_where_they_are() -> None:
    assert chosen(sharing(2, 0, 30), UNIFIED) is UNIFIED
    assert chosen(sharing(2, 0, 30), STREAMS) is STREAMS


def test_a_change_waits_until_it_has_been_better_for_some_steps() -> None:
    rule, running = LayoutRule(), sharing(16, 0, 80)

    choices = [rule.choose(running, UNIFIED) for _ in range(HOLD_STEPS)]

    assert choices == [UNIFIED] * (HOLD_STEPS - 1) + [STREAMS]


def test_repeated_steps_count_as_often_as_they_were_made() -> None:
    rule = LayoutRule()
    running = sharing(2, 0, 600)
    assert rule.choose(running, UNIFIED, 9) is UNIFIED  # made before these were running
    assert rule.choose(running, UNIFIED, HOLD_STEPS - 2) is UNIFIED
    assert rule.choose(running, UNIFIED, 1) is STREAMS


def test_a_long_prompt_does_not_wait() -> None:
    running = sharing(4, 0, 1200)
    for seq in running:
        seq.num_computed = 0

    assert chosen(running, UNIFIED, steps=1) is STREAMS


def test_a_pause_begins_the_wait_anew() -> None:
    rule, running = LayoutRule(), sharing(16, 0, 80)
    for _ in range(HOLD_STEPS - 1):
        rule.choose(running, UNIFIED)
    rule.choose(running[:1], UNIFIED)

    assert rule.choose(running, UNIFIED) is UNIFIED


@given(st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=6))
def test_shared_tokens_are_those_in_common_with_any_other(runs: list[list[int]]) -> None:
    running = [sequence(number, [*tokens, 9]) for number, tokens in enumerate(runs)]

    expected = 0
    for seq in running:
        others = [other.tokens for other in running if other is not seq]
        expected += max((common_prefix_length(seq.tokens, other) for other in others), default=0)

    assert num_shared_tokens(running) == expected
