"""Sequences of several adapter sets on the fake backend: own cells, fair turns, few changes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine import adapter_rotation
from localrun.engine.adapter_rotation import AdapterRotation
from localrun.engine.llama.lora_adapters import AdapterFile
from localrun.engine.sequence import Sequence
from tests.engine.test_scheduler import BUDGET, CELLS, Bench, both_kinds, prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.cache.kv_cache import MemoryKind
    from localrun.engine.llama.lora_adapters import AdapterSet
    from tests.engine.test_scheduler import Prompt


def wearing(*names: str) -> AdapterSet:
    return tuple((AdapterFile(name, 1, 1), 1.0) for name in names)


SETS = [(), wearing("a"), wearing("a", "b"), ((AdapterFile("a", 1, 1), 0.5),)]
mixes = st.lists(
    st.tuples(prompts, st.integers(1, 20), st.sampled_from(SETS)), min_size=1, max_size=12
)


TURN_STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def short_turns() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter_rotation, "TURN_STEPS", TURN_STEPS)
        patch.setattr(adapter_rotation, "TURN_S", 1000.0)
        yield


@both_kinds
@settings(max_examples=200, deadline=None)
@given(mixes, st.sets(st.integers(1, 60), max_size=6))
def test_any_mix_of_sets_generates_each_position_once_from_its_own_cells(
    memory: MemoryKind,
    mix: list[tuple[Prompt, int, AdapterSet]],
    aborts: set[int],
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = aborts
    sequences = [bench.submit(number, *request) for number, request in enumerate(mix)]

    outputs = bench.drain()

    for seq, (prompt, new, _) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(prompt) :] == list(range(len(prompt), len(prompt) + new))
    assert sum(output.finish is not None for output in outputs) == len(mix)
    assert all(0 < sum(count for _, count in step) <= BUDGET for step in bench.backend.steps)
    bench.check_end()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(20, 60), st.sampled_from(SETS)), min_size=2, max_size=20),
    st.integers(1, 5),
)
def test_nobody_waits_for_more_than_one_turn_of_each_other_set(
    talkers: list[tuple[int, AdapterSet]], every: int
) -> None:
    bench = Bench()
    steps_of: dict[int, list[int]] = {}

    for number in range(5000):
        if number % every == 0 and number // every < len(talkers):
            new, adapters = talkers[number // every]
            bench.submit(number // every, [number % 7], min(new, CELLS // 4 - 1), adapters)
        if bench.engine.has_work:
            bench.step()
            for request_id, _ in bench.backend.steps[-1]:
                steps_of.setdefault(request_id, []).append(number)
        elif number > every * len(talkers):
            break

    waits = [later - first for steps in steps_of.values() for first, later in pairwise(steps)]
    assert len(steps_of) == len(talkers)
    assert max(waits) <= (len(SETS) - 1) * TURN_STEPS + 1


def test_newcomers_do_not_push_in() -> None:
    bench = Bench()
    old = bench.submit(0, [1], 50)
    bench.submit(1, [1], 50, wearing("a"))

    for number in range(2, 60):  # each alone with its set, and gone after its first step
        bench.submit(number, [number], 1, wearing(str(number)))
        bench.step()

    assert old.num_generated > 10


def test_the_set_changes_once_a_turn() -> None:
    bench = Bench()
    for number in range(4):
        bench.submit(number, [number], 14, SETS[number % 2])

    bench.drain()

    worn = bench.backend.worn
    num_changes = sum(first != later for first, later in pairwise(worn))
    assert num_changes <= 2 + len(worn) / TURN_STEPS


def test_streams_go_on_beside_a_long_prompt_of_another_set() -> None:
    bench = Bench()
    talker = bench.submit(1, [1, 2], 20)
    bench.step()
    bench.submit(2, [3] * 40, 1, wearing("a"))

    generated = []
    for _ in range(6):
        bench.step()
        generated.append(talker.num_generated)

    assert all(later > first for first, later in zip(generated, generated[2:], strict=False))


@both_kinds
def test_a_prefix_is_for_its_own_set_only(
    memory: MemoryKind,
) -> None:
    bench = Bench(memory=memory)
    first = bench.submit(1, [1] * 10, 5, SETS[1])
    bench.drain()

    others = [bench.submit(number, [*first.tokens, 8], 1, SETS[number]) for number in (0, 2, 3)]
    bench.drain()
    same = bench.submit(9, [*first.tokens, 8], 1, SETS[1])
    bench.drain()

    assert [seq.num_cached for seq in others] == [0, 0, 0]
    assert same.num_cached == 14


def test_a_request_does_not_wait_for_a_common_beginning_in_another_set() -> None:
    bench = Bench()
    bench.submit(1, [*range(20)], 1)
    other = bench.submit(2, [*range(20)], 1, SETS[1])
    follower = bench.submit(3, [*range(20)], 1)

    bench.step()

    assert other.slot is not None
    assert follower.slot is None


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, TURN_STEPS), (500.0, 2), (1000.0, 1)])
def test_a_turn_of_long_steps_is_short(seconds: float, expected: int) -> None:
    circle = AdapterRotation()
    running = [Sequence(request_id=n, tokens=[1], max_tokens=9, adapters=SETS[n]) for n in (0, 1)]
    chosen = []

    for _ in range(2 * expected):
        chosen.append(circle.select(running)[0].request_id)
        circle.record_step(seconds, is_last_of_turn=False)

    assert chosen == [0] * expected + [1] * expected


@both_kinds
@settings(max_examples=100, deadline=None)
@given(mixes, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8))
def test_cancels_at_any_time_let_adapters_and_cells_go(
    memory: MemoryKind,
    mix: list[tuple[Prompt, int, AdapterSet]],
    cancels: list[tuple[int, int]],
) -> None:
    bench = Bench(memory=memory)
    for number, request in enumerate(mix):
        bench.submit(number, *request)

    def act(step: int) -> None:
        for when, request_id in cancels:
            if when == step:
                bench.engine.cancel(request_id)

    bench.drain(act)

    assert sorted(bench.backend.retired) == list(range(len(mix)))
    bench.check_end()
