"""Where the chunks of a sequence stand, and what that costs a sequence that decodes."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.context_shift import ContextShift
from localrun.engine.media.chunk import ChunkKey, ChunkShape, MediaChunk
from localrun.engine.media.placement import PlacedChunk, SequenceMedia
from localrun.engine.media.token_ids import ids_of_chunk
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from tests.engine.cells import FakeBackend

NUM_TOKENS, NUM_POSITIONS = 12, 4  # of an image with M-RoPE
NUM_TEXT = 6  # tokens before and behind it
CELLS = 64


class Unwalked(tuple[PlacedChunk, ...]):
    """Chunks that nothing may walk through."""

    __slots__ = ()

    def __iter__(self) -> NoReturn:
        raise AssertionError("all chunks are walked through")


def image(*, is_encoded: bool = True) -> MediaChunk:
    shape = ChunkShape(
        num_tokens=NUM_TOKENS,
        num_positions=NUM_POSITIONS,
        is_causal=True,
        offsets=np.zeros((4, NUM_TOKENS), np.int32),
        moves=(True, True, True, False),
    )
    embeddings = np.zeros((NUM_TOKENS, 2), np.float32) if is_encoded else None
    key = ChunkKey(digest=b"image", index=0)
    return MediaChunk(key=key, shape=shape, ids=ids_of_chunk(0, NUM_TOKENS), embeddings=embeddings)


def seeing(*, is_encoded: bool = True) -> Sequence:
    """Return a sequence of text, an image and text."""
    chunk = image(is_encoded=is_encoded)
    text = [1] * NUM_TEXT
    tokens = [*text, *chunk.ids, *text]
    media = SequenceMedia([PlacedChunk(NUM_TEXT, chunk)])
    return Sequence(request_id=1, tokens=tokens, max_tokens=CELLS, media=media)


def media_of(seq: Sequence) -> SequenceMedia:
    assert seq.media is not None
    return seq.media


def test_positions_go_on_behind_those_of_an_image() -> None:
    seq = seeing()
    end = NUM_TEXT + NUM_TOKENS

    positions = [seq.position_at(index) for index in (0, NUM_TEXT, NUM_TEXT + 1, end, end + 3)]

    assert positions == [0, NUM_TEXT, NUM_TEXT + NUM_POSITIONS, NUM_TEXT + NUM_POSITIONS, 13]


def test_a_sequence_that_decodes_does_not_walk_through_its_media() -> None:
    seq = seeing(is_encoded=False)
    media, index = media_of(seq), len(seq.tokens) - 1
    media.chunks = Unwalked(media.chunks)

    assert media.position_at(index) == index - NUM_TOKENS + NUM_POSITIONS
    assert media.run_at(index) == ()
    assert media.missing_behind(index) is None
    assert media.num_text_from(index) is None
    with pytest.raises(AssertionError):
        media.missing_behind(NUM_TEXT)


def test_a_shift_that_drops_the_last_image_leaves_no_count_behind() -> None:
    seq = seeing()
    seq.shift = ContextShift.keeping(0, CELLS)
    cache = StateCache(FakeBackend(CELLS), num_slots=1, supply=CellSupply(CELLS))
    scheduler = Scheduler(SchedulerLimits(num_slots=1, num_cells=CELLS), cache)
    scheduler.add(seq)

    seq.shift_context(seq.shift)
    scheduler.remove(seq)

    assert media_of(seq).chunks == ()
    assert (seq.num_skipped, seq.position_at(3)) == (0, 3)
    assert scheduler._num_with_media == 0


class RecordedCells(FakeBackend):
    """Keeps what cells are removed."""

    removed: tuple[int, int, int] | None = None

    def remove_cells(self, holder: int, start: int, end: int) -> None:
        self.removed = holder, start, end


def test_a_state_takes_drafts_back_behind_the_positions_of_an_image() -> None:
    seq, memory = seeing(), RecordedCells(CELLS)
    cache = StateCache(memory, num_slots=1, supply=CellSupply(CELLS))
    assert cache.allocate(seq, 1)
    seq.num_computed = len(seq.tokens)

    cache.truncate(seq)

    assert memory.removed == (seq.slot, 2 * NUM_TEXT + NUM_POSITIONS, -1)
