"""A switch of the layout changes nothing but the time: on a real, tiny, random model."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.stream_cache import GAP_STEPS, MAX_ENDED
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.lora_adapters import AdapterFile
from localrun.engine.llama.memory.lazy_buffers import _verified_hooks
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from tests.engine.cache.arena import (
    LIMITS,
    Arena,
    Asked,
    opened,
    requests_of,
    say_what_they_say_alone,
    sequence_of,
)
from tests.engine.tiny import adapter, hybrid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.llama.model import Model

NUM_REQUESTS = 40
NUM_MORE = int(os.environ.get("LOCALRUN_TEST_SWITCHES", "0"))


@pytest.fixture
def arena(model: Model) -> Iterator[Arena]:
    if _verified_hooks() is None:
        pytest.skip("cells take memory at once here, so that there are no streams")
    found = Arena(model)
    yield found
    found.close()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> AdapterSet:
    path = tmp_path_factory.mktemp("adapters") / "tiny.gguf"
    adapter(path, "llama", seed=1)
    about = path.stat()
    return ((AdapterFile(str(path), about.st_size, about.st_mtime_ns), 0.5),)


@pytest.mark.parametrize("chance", [0.05, 0.5])
def test_requests_say_what_they_say_alone(
    arena: Arena, adapters: AdapterSet, chance: float
) -> None:
    arena.rule.chance = chance

    compared = say_what_they_say_alone(arena, int(100 * chance), NUM_REQUESTS, adapters)

    assert compared["same"] > NUM_REQUESTS / 2
    assert compared["parted behind a shift"] <= 1
    assert arena.cache.num_switches > 2


@pytest.mark.timeout(3 * NUM_MORE)
@pytest.mark.skipif(not NUM_MORE, reason="scripts/test --switches=N runs it")
def test_many_requests_say_what_they_say_alone(arena: Arena, adapters: AdapterSet) -> None:
    compared: Counter[str] = Counter()
    for seed in range(NUM_MORE // NUM_REQUESTS):
        arena.rule.chance = (0.02, 0.05, 0.2, 0.5)[seed % 4]
        compared += say_what_they_say_alone(arena, 1000 + seed, NUM_REQUESTS, adapters)

    told = f"{dict(compared)}, {arena.cache.num_switches} switches, {arena.num_restored} restored"
    print(told)  # noqa: T201 - the figures of the run
    assert compared["parted behind a shift"] <= NUM_MORE / 50
    assert arena.cache.num_switches > NUM_MORE / 50


def test_a_switch_computes_nothing_again(arena: Arena) -> None:
    arena.rule.chance = 0
    sequences = [arena.submit(n, asked.prompt, 40) for n, asked in enumerate(requests_of(3, 4), 1)]
    while any(seq.num_pending > 1 for seq in sequences):
        arena.engine.step()
    for _ in range(6):
        before = [seq.num_computed for seq in sequences]
        arena.rule.chance = 1
        arena.cache.adapt()
        arena.rule.chance = 0

        assert [seq.num_computed for seq in sequences] == before
        arena.engine.step()
    arena.drain()

    assert arena.cache.num_switches >= 6


def test_prefixes_are_shared_across_switches(arena: Arena) -> None:
    shared = [300 + n for n in range(120)]
    arena.rule.chance = 0
    arena.submit(1, [*shared, 7], 30)
    arena.submit(2, [9, *shared], 30)
    arena.engine.step()
    arena.engine.step()
    arena.engine.step()
    arena.engine.step()
    arena.rule.chance = 1
    arena.engine.step()
    arena.rule.chance = 0
    assert arena.is_streaming()

    from_stream = arena.submit(3, [*shared, 8], 30)
    arena.drain()
    arena.compact()
    assert not arena.is_streaming()
    from_cells = arena.submit(4, [*shared, 11, 12], 4)
    arena.drain()

    assert from_stream.num_cached == 120
    assert from_cells.num_cached == 120
    assert from_stream.tokens == arena.says_alone([*shared, 8], 30)
    assert from_cells.tokens == arena.says_alone([*shared, 11, 12], 4)


def test_different_sequences_move_to_streams_and_back_when_they_end(arena: Arena) -> None:
    arena.cache._rule = LayoutRule()
    for number in range(4):
        arena.submit(number, [300 + 7 * number + n for n in range(150)], 20)
    arena.engine.step()

    assert arena.is_streaming()
    arena.drain()
    arena.submit(9, [5, 6, 7], 1)
    arena.engine.step()
    assert not arena.is_streaming()


def ended_beside_another(arena: Arena) -> tuple[Sequence, Sequence]:
    """Return a sequence that has ended in a stream, and one that still runs in another."""
    arena.rule.chance = 0
    short = arena.submit(1, [300 + n for n in range(120)], 9)
    long = arena.submit(2, [700 + n for n in range(100)], 90)
    arena.scheduler.admit()
    arena.cache._enter_streams(CellLayout.STREAMS)
    while short.finish is None:
        arena.engine.step()
    assert arena.is_streaming()
    assert long.finish is None
    return short, long


def test_a_sequence_that_ends_stays_in_its_stream(arena: Arena) -> None:
    short, _ = ended_beside_another(arena)

    assert arena.cache._unified.num_used_cells == 0
    arena.drain()
    assert arena.is_streaming()
    arena.compact()
    assert not arena.is_streaming()
    assert arena.cache.num_cached_tokens(short.tokens) == len(short.tokens) - 1


def test_a_sequence_takes_over_the_stream_that_it_continues(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, _ = ended_beside_another(arena)
    streams = arena.context._streams
    assert streams is not None
    monkeypatch.delattr(type(streams), "borrow_sequence")  # nothing is copied
    again = arena.submit(3, [*short.tokens, 7, 8], 20)
    arena.engine.step()
    monkeypatch.undo()
    arena.drain()

    assert again.num_cached == len(short.tokens) - 1
    assert again.tokens == arena.says_alone([*short.tokens, 7, 8], 20)


def test_a_sequence_that_parts_from_an_ended_one_leaves_its_stream_whole(arena: Arena) -> None:
    short, _ = ended_beside_another(arena)
    other = arena.submit(3, [*short.tokens[:100], 7, 8], 20)
    arena.drain()
    arena.compact()

    assert other.num_cached == 100
    assert other.tokens == arena.says_alone([*short.tokens[:100], 7, 8], 20)
    assert arena.cache.num_cached_tokens(short.tokens) == len(short.tokens) - 1


@pytest.mark.usefixtures("arena")
def test_streams_of_ended_sequences_give_way_to_others(model: Model) -> None:
    two = Arena(model, replace(LIMITS, num_slots=2), chance=0)
    short, _ = ended_beside_another(two)
    two.submit(3, [9] * 50, 5)
    two.engine.step()

    assert two.scheduler.num_waiting == 0
    assert two.cache._unified.num_used_cells == len(short.tokens) - 1
    two.drain()
    two.close()


def test_only_some_ended_sequences_keep_a_stream(arena: Arena) -> None:
    _, long = ended_beside_another(arena)
    used = set()
    for number in range(3, 12):
        seq = arena.submit(number, [300 + 10 * number + n for n in range(60)], 3)
        arena.engine.step()
        used.add(seq.slot)
        while seq.finish is None:
            arena.engine.step()
        assert long.finish is None
        assert long.slot is not None
        assert arena.cache._streams is not None
        slots = {long.slot, *arena.cache._streams._ended}
        assert len(slots) <= MAX_ENDED + 1
        assert max(slots) - min(slots) == len(slots) - 1

    arena.drain()
    assert len(used) <= MAX_ENDED + 1


def test_a_gap_is_closed_after_some_steps(arena: Arena) -> None:
    arena.rule.chance = 0
    first, short, last = (
        arena.submit(number, [300 + 50 * number + n for n in range(40)], new)
        for number, new in enumerate((90, 5, 90))
    )
    arena.scheduler.admit()
    arena.cache._enter_streams(CellLayout.STREAMS)
    while short.finish is None:
        arena.engine.step()
    slots = [(first.slot, last.slot)]
    for _ in range(GAP_STEPS + 2):
        arena.engine.step()
        slots.append((first.slot, last.slot))

    assert slots == [(0, 2)] * (GAP_STEPS + 1) + [(0, 1)] * 2
    arena.drain()
    assert last.tokens == arena.says_alone([400 + n for n in range(40)], 90)


def test_a_new_sequence_fills_a_gap(arena: Arena) -> None:
    arena.rule.chance = 0
    running = [arena.submit(number, [300 + 50 * number] * 40, 90) for number in range(3)]
    arena.scheduler.admit()
    arena.cache._enter_streams(CellLayout.STREAMS)
    arena.engine.step()
    arena.engine.cancel(running[1].request_id)
    new = arena.submit(3, [900] * 40, 9)
    arena.engine.step()

    assert new.slot == 1
    arena.drain()
    assert new.tokens == arena.says_alone([900] * 40, 9)


@pytest.mark.usefixtures("arena")
def test_a_sequence_that_leaves_the_streams_alone_evicts_nobody(model: Model) -> None:
    small = Arena(model, replace(LIMITS, stream_cells=1000), chance=0)
    idle = [600 + n for n in range(150)]
    small.submit(1, idle, 1)
    small.drain()
    long = small.submit(2, [300 + n % 200 for n in range(700)], 20)
    small.scheduler.admit()
    small.cache._enter_streams(CellLayout.STREAMS)
    while long.num_pending > 1:
        small.engine.step()
    assert small.is_streaming()
    small.scheduler.preempt(long)

    assert not small.is_streaming()
    assert small.cache.num_cached_tokens(idle) == 150
    assert small.cache.num_cached_tokens(long.tokens) == len(long.tokens) - 1
    small.drain()
    small.close()


def test_prefixes_in_streams_are_known_but_not_cached(arena: Arena) -> None:
    short, long = ended_beside_another(arena)

    for seq in (short, long):
        assert arena.cache.num_cached_tokens(seq.tokens) == 0
        assert arena.cache.num_known_tokens(seq.tokens) == len(seq.tokens) - 1
    arena.drain()


def test_only_steps_that_decode_are_timed(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    now, recorded = [0.0], []
    rule = arena.cache._rule = LayoutRule()
    monkeypatch.setattr(rule, "record_step", lambda *step: recorded.append(step))
    arena.cache._clock = lambda: now[0]
    for number in range(2):
        arena.submit(number, [300 + n for n in range(40)], 20)
        while arena.engine.has_work:
            now[0] += 1.0
            arena.engine.step()
        now[0] += 1000.0

    # neither the prompt nor the step of the first token nor the last, behind which nothing runs
    assert recorded == [(1.0, (0,))] * 18 + [(1.0, (1,))] * 18


def test_steps_with_draft_tokens_are_not_timed(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = []
    cache, rule = arena.cache, LayoutRule()
    cache._rule = rule
    monkeypatch.setattr(rule, "record_step", lambda _, members: recorded.append(members))
    seq = Sequence(request_id=7, tokens=[1, 2, 3], max_tokens=99)
    seq.tokens.append(9)
    seq.num_computed = 3
    for num_tokens, num_recorded in [(0, 0), (1, 1), (3, 1), (1, 2)]:
        seq.tokens += [9] * num_tokens
        seq.num_computed += num_tokens
        cache._record_steps([seq], 1)
        assert recorded == [(7,)] * num_recorded


def test_repeated_steps_are_timed_together(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[float] = []
    cache, rule, now = arena.cache, LayoutRule(), 0.0
    cache._rule, cache._clock = rule, lambda: now
    monkeypatch.setattr(rule, "record_step", lambda seconds, _: recorded.append(seconds))
    seq = Sequence(request_id=7, tokens=[1, 2, 3], max_tokens=99)
    seq.tokens.append(9)
    seq.num_computed = 3
    cache._record_steps([seq], 1)
    for num_tokens in (1, 3):
        seq.tokens += [9] * num_tokens
        seq.num_computed += num_tokens
        now += 0.5 * num_tokens
        cache._record_steps([seq], num_tokens)

    assert recorded == [0.5] * 4


def test_sequences_that_share_stay_in_unified_cells(arena: Arena) -> None:
    arena.cache._rule = LayoutRule()
    shared = [300 + n for n in range(150)]
    for number in range(4):
        arena.submit(number, [*shared, 500 + number], 20)
    arena.drain()

    assert arena.cache.num_switches == 0


def test_a_sequence_that_outgrows_its_stream_takes_all_back(model: Model, arena: Arena) -> None:
    small = SchedulerLimits(num_slots=6, num_cells=1024, step_tokens=64, stream_cells=100)
    other = Arena(model, small, chance=0)
    prompts = [[300 + n for n in range(90)], [400 + n for n in range(50)]]
    other.rule.chance = 1
    sequences = [other.submit(number, prompt, 40) for number, prompt in enumerate(prompts)]
    other.engine.step()
    assert other.is_streaming()
    other.rule.chance = 0
    other.drain()

    assert not other.is_streaming()
    for seq, prompt in zip(sequences, prompts, strict=True):
        assert seq.tokens == arena.says_alone(prompt, 40)
    other.close()


def test_without_memory_the_cells_stay_unified(model: Model, arena: Arena) -> None:
    free_bytes = [2**40]
    context = LlamaContext(model, LIMITS, num_threads=1, free_bytes=lambda: free_bytes[0])
    cache = context.open_cache()
    assert isinstance(cache, SwitchingCache)
    cache.supply.grant(1024)
    free_bytes[0] = 0
    engine = Engine(context, Scheduler(LIMITS, cache), pieces=model.pieces, eog=frozenset())
    prompts = [[300 + 7 * number + n for n in range(150)] for number in range(4)]
    sequences = [sequence_of(number, Asked(prompt, 9)) for number, prompt in enumerate(prompts)]
    for seq in sequences:
        engine.submit(seq)
    while engine.has_work:
        engine.step()

    assert cache.num_switches == 0
    assert [seq.tokens for seq in sequences] == [arena.says_alone(one, 9) for one in prompts]
    context.close()


def test_streams_are_no_longer_than_the_machine_can_reserve(model: Model, arena: Arena) -> None:
    context = LlamaContext(model, LIMITS, num_threads=1, free_bytes=lambda: 2**20)

    assert context.stream_cells < arena.context.stream_cells
    context.close()


def test_a_model_with_states_has_no_streams(tmp_path: Path, guide_path: Path) -> None:
    found = opened(hybrid, tmp_path, guide_path)
    context = LlamaContext(found, LIMITS, num_threads=1)

    assert not isinstance(context.open_cache(), SwitchingCache)
    context.close()
    found.close()
