"""A switch of the layout changes nothing but the time: on a real, tiny model with random weights.

Requests of many kinds come, are cancelled, preempted and aborted, while the cells move between both
layouts at random steps. Each request generates what it generates alone.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.context import LlamaContext
from localrun.engine.context_shift import ContextShift
from localrun.engine.engine import Engine
from localrun.engine.llama.lazy_buffers import _verified_hooks
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import Speculator
from localrun.prefixes import common_prefix_length
from tests.engine.tiny import full_attention, hybrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Sequences
    from pathlib import Path

    import numpy as np

NUM_CTX = 512
LIMITS = SchedulerLimits(num_slots=6, num_cells=1024, step_tokens=64, stream_cells=NUM_CTX)
PLAIN = SchedulerLimits(num_slots=2, num_cells=1024, step_tokens=64)
GREEDY = SamplingParams(temperature=0)
NUM_REQUESTS = 40
NEAR_TIE = 0.02  # of the spread of logits: batches of other sizes add in another order
native_log = start()


def opened(kind: Callable[[Path, Path], None], folder: Path, guide_path: Path) -> Model:
    path = folder / "tiny.gguf"
    kind(path, guide_path)
    return load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)


@pytest.fixture(scope="module")
def model(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    found = opened(full_attention, tmp_path_factory.mktemp("tiny"), guide_path)
    yield found
    found.close()


@pytest.fixture
def arena(model: Model) -> Iterator[Arena]:
    if _verified_hooks() is None:
        pytest.skip("cells take memory at once here, so that there are no streams")
    found = Arena(model)
    yield found
    found.close()


class Wavering(LayoutRule):
    """Switches at random steps."""

    def __init__(self, chance: float, seed: int = 1) -> None:
        super().__init__()
        self.chance = chance
        self._random = Random(seed)  # noqa: S311 - the same switches each time

    def choose(self, running: Sequences[Sequence], current: CellLayout) -> CellLayout:
        if not running or self._random.random() >= self.chance:
            return current
        return CellLayout.UNIFIED if current is CellLayout.STREAMS else CellLayout.STREAMS


class Arena:
    """An engine that switches, and another in which each request is alone."""

    def __init__(self, model: Model, limits: SchedulerLimits = LIMITS, chance: float = 0.2) -> None:
        self.model = model
        self.rule = Wavering(chance)
        self.context = LlamaContext(model, limits, num_threads=1)
        cache = self.context.open_cache()
        assert isinstance(cache, SwitchingCache)
        cache._rule = self.rule
        self.cache = cache
        self.scheduler = Scheduler(limits, cache)
        speculation = Speculator([PromptLookup()])
        self.engine = self._engine(self.context, self.scheduler, speculation)
        self._plain = LlamaContext(model, PLAIN, num_threads=1)
        self._plain_cache = self._plain.open_cache()
        self._alone = self._engine(self._plain, Scheduler(PLAIN, self._plain_cache))

    def submit(self, number: int, prompt: list[int], new: int, edge: int | None = None) -> Sequence:
        seq = _sequence(number, prompt, new, edge)
        self.engine.submit(seq)
        return seq

    def is_streaming(self) -> bool:
        return self.cache.layout is CellLayout.STREAMS

    def drain(self) -> None:
        while self.engine.has_work:
            self.engine.step()

    def says_alone(self, prompt: list[int], new: int, edge: int | None = None) -> list[int]:
        seq = _sequence(0, prompt, new, edge)
        self._alone.submit(seq)
        while self._alone.has_work:
            self._alone.step()
        self._plain_cache.clear()
        return seq.tokens

    def logits_alone(self, tokens: list[int]) -> np.ndarray:
        """Return the logits behind tokens."""
        self.says_alone(tokens, 1)
        return self._plain._sampler.logits(-1).copy()

    def close(self) -> None:
        self.cache.compact()
        self.cache.clear()
        assert self.cache.num_used_cells == 0
        assert self.context.num_holders == 0
        self.context.close()
        self._plain.close()

    def _engine(
        self, context: LlamaContext, scheduler: Scheduler, speculation: Speculator | None = None
    ) -> Engine:
        pieces = self.model.pieces
        return Engine(context, scheduler, pieces=pieces, eog=frozenset(), speculation=speculation)


def _sequence(number: int, prompt: list[int], new: int, edge: int | None) -> Sequence:
    return Sequence(
        request_id=number,
        tokens=[*prompt],
        max_tokens=len(prompt) + new,
        sampling=GREEDY,
        shift=None if edge is None else ContextShift.keeping(4, edge),
    )


def prompts_of(seed: int, count: int) -> Iterator[tuple[list[int], int, int | None]]:
    """Yield prompts, some of which begin as others do, with numbers of tokens and shifts."""
    draw = Random(seed)  # noqa: S311 - the same requests each time
    known: list[list[int]] = [[]]
    for _ in range(count):
        base = draw.choice(known) if draw.random() < 0.6 else []
        prompt = base[: draw.randrange(len(base) + 1)]
        prompt = prompt + [draw.randrange(300, 900) for _ in range(draw.randrange(1, 90))]
        prompt = prompt[:300]
        known = [*known[-8:], prompt]
        edge = len(prompt) + 8 if draw.random() < 0.1 else None
        yield prompt, draw.randrange(1, 24), edge


def say_what_they_say_alone(arena: Arena, seed: int, count: int) -> None:
    draw = Random(seed)  # noqa: S311 - the same requests each time
    asked: dict[int, tuple[list[int], int, int | None]] = {}
    sequences: dict[int, Sequence] = {}
    for number, request in enumerate(prompts_of(seed, count), 1):
        asked[number] = request
        sequences[number] = arena.submit(number, *request)
        for _ in range(draw.choice((0, 0, 1, 3, 9))):
            arena.engine.step()
            _disturb(arena, draw, number)
    arena.drain()

    num_shifted = 0
    for number, seq in sequences.items():
        expected = arena.says_alone(*asked[number])
        if seq.tokens == expected[: len(seq.tokens)]:
            continue
        if asked[number][2] is not None:  # what was dropped is not known any more
            num_shifted += seq.finish is not FinishReason.CANCELLED
            continue
        position = common_prefix_length(seq.tokens, expected)
        logits = arena.logits_alone(seq.tokens[:position])
        assert logits.max() - logits[seq.tokens[position]] < NEAR_TIE * logits.std(), number
    assert num_shifted <= 1


def _disturb(arena: Arena, draw: Random, number: int) -> None:
    chance = draw.random()
    if chance < 0.05:
        arena.engine.cancel(draw.randrange(max(1, number - 8), number + 1))
    elif chance < 0.1:
        arena.scheduler.preempt_youngest()
    elif chance < 0.15:
        arena.context.abort()
        arena.engine.step()
        arena.context.clear_abort()
    elif chance < 0.2:
        arena.cache.supply.num_cells = draw.choice((1024, 640))


@pytest.mark.parametrize("chance", [0.05, 0.5])
def test_requests_say_what_they_say_alone(arena: Arena, chance: float) -> None:
    arena.rule.chance = chance

    say_what_they_say_alone(arena, seed=int(100 * chance), count=NUM_REQUESTS)

    assert arena.cache.num_switches > 2


def test_a_switch_computes_nothing_again(arena: Arena) -> None:
    arena.rule.chance = 0
    sequences = [
        arena.submit(n, prompt, 40) for n, (prompt, _, _) in enumerate(prompts_of(3, 4), 1)
    ]
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
    arena.cache.compact()
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
    sequences = [_sequence(number, prompt, 9, None) for number, prompt in enumerate(prompts)]
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
