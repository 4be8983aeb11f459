"""A prompt behind a long cached prefix is computed by whole tiles, on a real, tiny model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.context_params import tile_tokens
from localrun.engine.params import TILE_TOKENS, CacheType, LoadOptions
from tests.engine.cache.arena import LIMITS, Arena

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.llama.model import Model

LONG = 800
NUM_CELLS = 4096


@pytest.fixture
def arena(model: Model) -> Iterator[Arena]:
    found = Arena(model, replace(LIMITS, num_cells=NUM_CELLS, stream_cells=2048), chance=0)
    yield found
    found.close()


def tokens(count: int) -> list[int]:
    return [300 + n * n % 500 for n in range(count)]


def num_cached(arena: Arena, cached: int, missing: int) -> int:
    arena.submit(1, tokens(cached), 1)
    arena.drain()
    prompt = [*tokens(cached), *range(900, 900 + missing)]
    seq = arena.submit(2, prompt, 8)
    arena.drain()
    assert seq.tokens == arena.says_alone(prompt, 8)
    return seq.num_cached


@pytest.mark.parametrize(
    ("cached", "missing", "computed"),
    [
        (LONG, 40, TILE_TOKENS),
        (LONG, 63, TILE_TOKENS),
        (LONG, 64, 64),
        (LONG, 90, 90),
        (LONG, 10, 10),  # a tile of its own would cost more
        (200, 40, 40),
    ],
)
def test_a_few_cached_tokens_are_computed_again_for_a_whole_tile(
    arena: Arena, cached: int, missing: int, computed: int
) -> None:
    assert num_cached(arena, cached, missing) == cached + missing - computed


def test_beside_another_sequence_all_cached_tokens_are_used(arena: Arena) -> None:
    arena.submit(1, tokens(LONG), 1)
    arena.drain()
    arena.submit(2, [7, 8, 9], 40)
    arena.engine.step()
    seq = arena.submit(3, [*tokens(LONG), *range(900, 940)], 1)
    arena.drain()

    assert seq.num_cached == LONG


def test_only_flash_attention_of_a_processor_has_tiles(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tile_tokens(model, LoadOptions()) == TILE_TOKENS
    assert tile_tokens(model, LoadOptions(cache_type=CacheType.F32)) == TILE_TOKENS
    assert tile_tokens(model, LoadOptions(cache_type=CacheType.Q8_0)) == 0
    assert tile_tokens(model, LoadOptions(flash_attention=False)) == 0
    monkeypatch.setattr(model, "devices", (object(),))
    assert tile_tokens(model, LoadOptions()) == 0
