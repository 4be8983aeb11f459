"""Long sequences move to streams with transposed values, on a real, tiny, random model."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine import context as context_module
from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.stream_cache import GAP_STEPS
from localrun.engine.cache.stream_memory import CellPages
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.context import LlamaContext
from localrun.engine.context_params import transposed_from
from localrun.engine.llama.memory.lazy_buffers import _verified_hooks
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import CacheType, LoadOptions
from tests.engine.cache.arena import LIMITS, Arena, Asked, _comparison, opened
from tests.engine.tiny import hybrid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.model import Model
    from localrun.engine.sequence import Sequence

LONG = 100
NEW = 60
OPTIONS = LoadOptions()
ROOMY = replace(LIMITS, num_cells=4096)


@pytest.fixture
def arena(model: Model) -> Iterator[Arena]:
    if _verified_hooks() is None:
        pytest.skip("cells take memory at once here, so that there are no streams")
    found = Arena(model, ROOMY, chance=0)
    found.cache._rule = LayoutRule(LONG)
    yield found
    found.close()


def prompt(number: int, length: int = 3 * LONG) -> list[int]:
    return [300 + (7 * number + n) % 500 for n in range(length)]


def layouts_of_steps(arena: Arena, num_steps: int) -> list[CellLayout]:
    found = []
    for _ in range(num_steps):
        arena.engine.step()
        found.append(arena.cache.layout)
    return found


def layouts_until(arena: Arena, seq: Sequence) -> list[CellLayout]:
    """Run until a sequence has ended; return the layouts after each step."""
    found: list[CellLayout] = []
    while seq.finish is None:
        found += layouts_of_steps(arena, 1)
    return found


def test_a_long_answer_is_computed_with_transposed_values(arena: Arena) -> None:
    seq = arena.submit(1, prompt(1), NEW)

    found = layouts_until(arena, seq)

    assert found[0] is CellLayout.UNIFIED
    assert found[-2] is CellLayout.TRANSPOSED
    assert _comparison(arena, Asked(prompt(1), NEW), seq) in {"same", "parted at a tie"}


def test_what_was_computed_before_stays_in_the_tree(arena: Arena) -> None:
    seq = arena.submit(1, prompt(1), NEW)
    while arena.cache.layout is not CellLayout.TRANSPOSED:
        arena.engine.step()

    assert arena.cache.num_cached_tokens(prompt(1)) == len(prompt(1))
    assert arena.cache._unified.num_pinned_cells >= len(prompt(1))
    arena.drain()
    arena.compact()
    assert arena.cache._unified.num_pinned_cells == 0
    again = arena.submit(2, [*seq.tokens, 5], 1)
    arena.drain()
    assert again.num_cached == len(seq.tokens) - 1


def test_without_room_for_both_the_cells_move(model: Model, arena: Arena) -> None:
    small = Arena(model, replace(LIMITS, stream_cells=900), chance=0)
    small.cache._rule = LayoutRule(LONG)
    long = prompt(1, 6 * LONG)
    seq = small.submit(1, long, NEW)
    while small.cache.layout is not CellLayout.TRANSPOSED:
        small.engine.step()

    assert small.cache._unified.num_pinned_cells == 0
    small.drain()
    small.compact()
    assert small.cache.num_cached_tokens(seq.tokens) == len(seq.tokens) - 1
    assert _comparison(arena, Asked(long, NEW), seq) in {"same", "parted at a tie"}
    small.close()


def test_transposed_values_take_whole_pages(model: Model, arena: Arena) -> None:
    small = Arena(model, LIMITS, chance=0)
    small.cache._rule = LayoutRule(LONG)
    small.cache._value_pages = CellPages(2 * LIMITS.num_cells, 2 * LIMITS.num_cells)
    seq = small.submit(1, prompt(1), NEW)
    small.drain()

    assert small.cache.num_switches == 0
    assert _comparison(arena, Asked(prompt(1), NEW), seq) in {"same", "parted at a tie"}
    small.close()


def test_streams_become_transposed_and_others_come_to_them(arena: Arena) -> None:
    sequences = [arena.submit(number, prompt(number), NEW) for number in range(3)]
    assert layouts_of_steps(arena, 1) == [CellLayout.STREAMS]
    while layouts_of_steps(arena, 1) != [CellLayout.TRANSPOSED]:
        pass
    late = arena.submit(9, prompt(9, 2 * LONG), NEW)

    arena.drain()

    for number, seq in [*enumerate(sequences), (9, late)]:
        asked = Asked(prompt(number, 2 * LONG) if number == 9 else prompt(number), NEW)
        assert _comparison(arena, asked, seq) in {"same", "parted at a tie"}


@pytest.mark.parametrize(
    ("num_ended", "token_s", "layout"),
    [
        (4 * LONG, 0.0, CellLayout.STREAMS),
        (4 * LONG, 3600.0, CellLayout.TRANSPOSED),  # the reader is far behind the answer
        (LONG, 0.0, CellLayout.TRANSPOSED),
    ],
)
def test_no_reader_waits_while_long_sequences_that_ended_move(
    arena: Arena, num_ended: int, token_s: float, layout: CellLayout
) -> None:
    seq, ended = arena.submit(1, prompt(1), NEW), arena.submit(2, prompt(2, num_ended), 2)
    arena.scheduler.admit()
    arena.cache._enter_streams(CellLayout.STREAMS)

    assert set(layouts_until(arena, ended)) == {CellLayout.STREAMS}
    seq.reader = AnswerReader(token_s)
    assert layouts_until(arena, seq)[-1] is layout
    assert _comparison(arena, Asked(prompt(1), NEW), seq) in {"same", "parted at a tie"}


def test_full_pages_preempt_nobody(model: Model, arena: Arena) -> None:
    full = Arena(model, replace(LIMITS, stream_cells=512), chance=0)
    full.cache._rule = LayoutRule(LONG)
    full.cache._value_pages = CellPages(256, 512)
    sequences = [full.submit(number, prompt(number, 180), NEW) for number in range(4)]
    layouts = []
    while full.engine.has_work:
        layouts += layouts_of_steps(full, 1)
        assert full.scheduler.num_waiting == 0
        if layouts[-1] is CellLayout.TRANSPOSED:  # with draft tokens, too
            assert full.cache.reserve(4 + 8)

    assert CellLayout.TRANSPOSED in layouts
    for number, seq in enumerate(sequences):
        asked = Asked(prompt(number, 180), NEW)
        assert _comparison(arena, asked, seq) in {"same", "parted at a tie"}
    full.close()


def test_pinned_cells_give_way_to_another_sequence(model: Model, arena: Arena) -> None:
    small = Arena(model, replace(LIMITS, stream_cells=512), chance=0)
    small.cache._rule = LayoutRule(LONG)
    first = small.submit(1, prompt(1), NEW)
    while small.cache.layout is not CellLayout.TRANSPOSED:
        small.engine.step()
    assert small.cache._unified.num_pinned_cells > 0
    second = small.submit(2, prompt(2, 4 * LONG), NEW)
    small.engine.step()

    assert small.scheduler.num_waiting == 0
    assert small.cache._unified.num_pinned_cells == 0
    assert small.cache.layout is CellLayout.TRANSPOSED
    small.drain()
    assert _comparison(arena, Asked(prompt(1), NEW), first) in {"same", "parted at a tie"}
    assert _comparison(arena, Asked(prompt(2, 4 * LONG), NEW), second) in {
        "same",
        "parted at a tie",
    }
    small.close()


@pytest.mark.usefixtures("arena")
def test_a_prefix_without_room_goes_to_host_memory(model: Model) -> None:
    small = Arena(model, replace(LIMITS, stream_cells=512, host_cache_bytes=2**30), chance=0)
    small.cache._rule = LayoutRule(LONG)
    small.cache._value_pages = CellPages(512, 512)
    short = small.submit(1, prompt(1), 30)
    long = small.submit(2, prompt(2), 150)
    while short.finish is None:
        small.engine.step()
    assert small.cache.layout is CellLayout.TRANSPOSED
    assert long.finish is None
    small.drain()
    small.compact()

    again = small.submit(3, [*short.tokens, 5], 1)
    small.drain()
    assert again.num_cached == len(short.tokens) - 1
    small.close()


def test_cells_in_another_format_stay_where_they_are(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(context_module, "has_known_format", lambda _: False)
    seq = arena.submit(1, prompt(1), NEW)
    arena.drain()

    assert arena.cache.num_switches == 0
    assert "another format" in caplog.text
    assert seq.tokens == arena.says_alone(prompt(1), NEW)


@pytest.mark.usefixtures("arena")
def test_without_memory_for_pages_sequences_run_in_streams(model: Model) -> None:
    small = Arena(model, replace(LIMITS, stream_cells=512), chance=0)
    small.cache._rule = LayoutRule(LONG)
    small.cache._value_pages = CellPages(2048, 2048)
    for number in range(2):
        small.submit(number, prompt(number), NEW)
    while any(seq.num_pending > 1 for seq in small.scheduler.running) or not (
        small.scheduler.running
    ):
        small.engine.step()
    found = layouts_of_steps(small, 40)

    assert CellLayout.TRANSPOSED not in found
    assert found[-1] is CellLayout.STREAMS
    small.drain()
    small.close()


def test_copies_of_moved_cells_are_freed(arena: Arena) -> None:
    lengths = (NEW + 20, NEW, NEW + 40)
    others = [arena.submit(number, prompt(number), new) for number, new in enumerate(lengths)]
    found = layouts_until(arena, others.pop(1))
    found += layouts_of_steps(arena, GAP_STEPS + 2)  # its slot is filled
    assert {seq.slot for seq in others} == {0, 1}

    streams = arena.context._streams
    assert CellLayout.TRANSPOSED in found
    assert streams is not None
    for native in (streams, arena.context._unified):
        assert native._saved._buffer.nbytes == 0
        assert native._restored._buffer.nbytes == 0
    arena.drain()


def test_a_model_with_one_slot_has_them_too(model: Model, arena: Arena) -> None:
    alone = Arena(model, replace(ROOMY, num_slots=1), chance=0)
    alone.cache._rule = LayoutRule(LONG)
    seq = alone.submit(1, prompt(1), NEW)

    assert CellLayout.TRANSPOSED in layouts_until(alone, seq)
    assert _comparison(arena, Asked(prompt(1), NEW), seq) in {"same", "parted at a tie"}
    alone.close()


def test_the_bound_weighs_heads_against_values(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    bound = transposed_from(model, OPTIONS)

    assert bound is not None
    assert bound > 0
    assert transposed_from(model, replace(OPTIONS, cache_type=CacheType.F16)) == bound
    assert transposed_from(model, replace(OPTIONS, cache_type=CacheType.Q8_0)) is None
    assert transposed_from(model, replace(OPTIONS, flash_attention=True)) is None
    assert transposed_from(model, replace(OPTIONS, flash_attention=False)) is None
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert transposed_from(model, OPTIONS) is None


def test_a_model_with_states_never_transposes_values(tmp_path: Path, guide_path: Path) -> None:
    model = opened(hybrid, tmp_path, guide_path)

    assert transposed_from(model, OPTIONS) is None
    model.close()


def test_with_the_option_for_flash_attention_the_layout_stays(model: Model) -> None:
    forced = replace(OPTIONS, flash_attention=True)
    context = LlamaContext(model, replace(ROOMY, num_slots=1), num_threads=1, options=forced)

    assert not isinstance(context.open_cache(), SwitchingCache)
    context.close()
