"""Chunks keep their ids, and their embeddings as long as the budget allows."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.media import skipped_positions
from localrun.engine.media.chunk import ChunkShape, MediaChunk
from localrun.engine.media.library import MediaLibrary, TokenizedChunk
from localrun.engine.media.token_ids import ids_of_chunk, text_only
from localrun.prefixes import border_before, border_behind, is_inside

if TYPE_CHECKING:
    import pytest

KIB = 1024


def shape(num_tokens: int, num_positions: int | None = None) -> ChunkShape:
    return ChunkShape(
        num_tokens=num_tokens,
        num_positions=num_tokens if num_positions is None else num_positions,
        is_causal=True,
        offsets=np.arange(num_tokens, dtype=np.int32)[None],
        moves=(True,),
    )


def tokenized(*sizes: int) -> list[TokenizedChunk]:
    return [TokenizedChunk(shape(size), object()) for size in sizes]


def chunk_of(library: MediaLibrary, name: bytes, size: int = 4) -> MediaChunk:
    (part,) = library.add(name, name, tokenized(size))
    assert isinstance(part, MediaChunk)
    return part


def test_equal_content_of_other_files_is_one_chunk() -> None:
    library = MediaLibrary()
    (first,) = library.add(b"png", b"pixels", tokenized(3))
    (second,) = library.add(b"webp", b"pixels", tokenized(3))

    assert first is second


def test_tiles_of_one_image_have_ids_of_their_own() -> None:
    library = MediaLibrary()
    parts = library.add(b"x", b"x", [tokenized(3)[0], (7, 8), tokenized(3)[0]])
    chunks = [part for part in parts if isinstance(part, MediaChunk)]

    assert parts[1] == (7, 8)
    assert not set(chunks[0].ids) & set(chunks[1].ids)


def test_a_medium_is_known_while_its_embeddings_are_kept() -> None:
    library = MediaLibrary(budget_bytes=4 * KIB)
    chunk = chunk_of(library, b"a")
    ids = chunk.ids
    library.set_embeddings(chunk, np.zeros((4, 128), np.float32))
    del chunk
    gc.collect()

    found = library.find(b"a")
    assert found is not None
    assert isinstance(found[0], MediaChunk)
    assert found[0].ids == ids
    del found
    gc.collect()

    for name in (b"b", b"c"):  # evict it
        library.set_embeddings(chunk_of(library, name), np.zeros((4, 128), np.float32))
    gc.collect()
    assert library.find(b"a") is None
    assert chunk_of(library, b"a").ids == ids


def test_a_chunk_that_a_sequence_holds_outlives_its_eviction() -> None:
    library = MediaLibrary(budget_bytes=0)
    chunk = chunk_of(library, b"a")
    library.set_embeddings(chunk, np.zeros((4, 128), np.float32))

    assert library.embeddings.num_bytes == 0
    found = library.find(b"a")
    assert found is not None
    assert found[0] is chunk


def test_positions_are_skipped_by_whole_chunks() -> None:
    library = MediaLibrary()
    chunk = skipping_chunk(library, b"x")
    tokens = [5, 6, *chunk.ids, 7]

    assert [library.skipped.position_at(tokens, index) for index in (0, 2, 14, 15)] == [0, 2, 6, 7]


def test_positions_of_the_chunks_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipped_positions, "MAX_CHUNKS", 2)
    library = MediaLibrary()

    first, second, *_ = [skipping_chunk(library, name) for name in (b"a", b"b", b"a", b"c")]

    assert library.skipped.count(first.ids) == 8
    assert library.skipped.count(second.ids) == 0


def skipping_chunk(library: MediaLibrary, name: bytes) -> MediaChunk:
    (part,) = library.add(name, name, [TokenizedChunk(shape(12, 4), object())])
    assert isinstance(part, MediaChunk)
    return part


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 60))
def test_borders_are_those_of_chunks(sizes: list[int], position: int) -> None:
    tokens: list[int] = []
    borders = {0}
    number = 0
    for size in sizes:
        tokens += [3, *ids_of_chunk(number, size)]
        borders |= {len(tokens) - size, len(tokens)}
        number += size

    position = min(position, len(tokens))

    assert border_before(tokens, position) == max(one for one in borders if one <= position)
    assert border_behind(tokens, position) == min(one for one in borders if one >= position)
    assert len(set(tokens) - {3}) == sum(sizes)
    assert text_only(tokens) == [3] * len(sizes)
    assert sum(map(is_inside, tokens)) == sum(sizes) - len(sizes)
