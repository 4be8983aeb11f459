"""Where the chunks of a sequence stand, and what it costs to know that at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.checkpoints import Checkpoint
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.context_shift import ContextShift
from localrun.engine.media.chunk import ChunkKey, ChunkShape, MediaChunk
from localrun.engine.media.placement import MAX_TEXT_BEHIND, PlacedChunk, SequenceMedia
from localrun.engine.media.token_ids import ids_of_chunk
from localrun.engine.scheduler import ScheduledChunk, Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.draft_model import DraftModel
from localrun.engine.speculation.mtp_layers import MtpLayers
from localrun.engine.speculation.prompt_lookup import PromptLookup
from tests.engine.cells import FakeBackend
from tests.engine.speculation.sequences import FakeFeatures

if TYPE_CHECKING:
    from localrun.engine.speculation.mtp_context import MtpInputs
    from localrun.engine.speculation.speculator import DraftSource

NUM_TOKENS, NUM_POSITIONS = 12, 4  # of an image with M-RoPE
NUM_TEXT = 6  # tokens before and behind it
CELLS = 64


class Counted:
    """Chunks, and how many of them were looked at."""

    def __init__(self, chunks: tuple[PlacedChunk, ...]) -> None:
        self.chunks = chunks
        self.num_looks = 0

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, number: int) -> PlacedChunk:  # a loop over the chunks comes here too
        self.num_looks += 1
        return self.chunks[number]


def image(
    *, is_encoded: bool = True, num_positions: int = NUM_POSITIONS, digest: bytes = b"image"
) -> MediaChunk:
    has_mrope = num_positions < NUM_TOKENS
    shape = ChunkShape(
        num_tokens=NUM_TOKENS,
        num_positions=num_positions,
        is_causal=True,
        offsets=np.zeros((4 if has_mrope else 1, NUM_TOKENS), np.int32),
        moves=(True, True, True, False) if has_mrope else (True,),
    )
    embeddings = np.zeros((NUM_TOKENS, 2), np.float32) if is_encoded else None
    key = ChunkKey(digest=digest, index=0)
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


def many(count: int) -> SequenceMedia:
    """Return encoded images with a token of text before each."""
    return SequenceMedia([PlacedChunk(n * (NUM_TOKENS + 1) + 1, image()) for n in range(count)])


def num_looks(media: SequenceMedia, index: int) -> int:
    """Return how many chunks a step looks at that computes the token at an index."""
    chunks = Counted(media.chunks)
    media.chunks = cast("tuple[PlacedChunk, ...]", chunks)
    media.position_at(index)
    media.at(index)
    media.run_at(index)
    media.num_text_from(index)
    media.missing_behind(index)
    media.has_behind(index, image())
    media.chunks = chunks.chunks
    return chunks.num_looks


@pytest.mark.parametrize(
    ("num_behind", "num_positions", "joins", "num_joined"),
    [
        (9, NUM_TOKENS, True, 9),
        (MAX_TEXT_BEHIND, NUM_TOKENS, True, MAX_TEXT_BEHIND),
        (MAX_TEXT_BEHIND + 1, NUM_TOKENS, True, 0),
        (9, NUM_TOKENS, False, 0),  # the model has no plain rows
        (9, NUM_POSITIONS, True, 0),  # M-RoPE
    ],
)
def test_a_short_text_behind_the_last_image_is_computed_with_it(
    num_behind: int, num_positions: int, *, joins: bool, num_joined: int
) -> None:
    first, last = (image(num_positions=num_positions) for _ in range(2))
    placed = PlacedChunk(0, first), PlacedChunk(NUM_TOKENS + 5, last)
    media = SequenceMedia(placed, joins_tiles=joins)
    num_tokens = media.end + num_behind

    assert media.run_end(media.run_at(0), num_tokens) == NUM_TOKENS
    assert media.run_end(media.run_at(placed[1].start), num_tokens) == media.end + num_joined


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_step_looks_at_as_many_chunks_among_many_as_among_few(share: float) -> None:
    few, long = many(4), many(400)
    for media in (few, long):
        media.missing_behind(0)  # the first search looks at all

    looks = [num_looks(media, round(share * media.end)) for media in (few, long)]

    assert looks[0] == looks[1]
    assert num_looks(long, long.end) == 0  # while the sequence decodes


def test_media_that_a_preempted_sequence_computes_again_are_encoded_first() -> None:
    chunks = [image(is_encoded=is_encoded) for is_encoded in (True, False, True, True)]
    media = SequenceMedia([PlacedChunk(n * NUM_TOKENS, c) for n, c in enumerate(chunks)])

    missing = [media.missing_behind(n * NUM_TOKENS) for n in (0, 2, 3, 4, 0)]

    assert missing == [chunks[1], None, None, None, chunks[1]]
    chunks[1].embeddings = chunks[0].embeddings
    assert media.missing_behind(0) is None


# text before a chunk, positions of the chunk (all: no M-RoPE), whether it is encoded
layouts = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([NUM_POSITIONS, NUM_TOKENS]), st.booleans()),
    max_size=6,
)


@given(layouts, st.lists(st.integers(0, 100), min_size=1, max_size=8))
def test_each_question_is_answered_as_by_a_walk(
    layout: list[tuple[int, int, bool]], indexes: list[int]
) -> None:
    placed: list[PlacedChunk] = []
    for num_text, num_positions, is_encoded in layout:
        start = (placed[-1].end if placed else 0) + num_text
        chunk = image(is_encoded=is_encoded, num_positions=num_positions)
        placed.append(PlacedChunk(start, chunk))
    media = SequenceMedia(placed)

    assert media.end == max((one.end for one in placed), default=0)
    assert media.num_skipped == sum(one.chunk.num_skipped for one in placed)
    for index in indexes:
        behind = [one for one in placed if one.end > index]
        inside = [one for one in behind if one.start <= index]
        missing = [one.chunk for one in behind if one.chunk.embeddings is None]
        assert media.at(index) == next(iter(inside), None)
        assert media.run_at(index) == tuple(inside)
        assert media.num_text_from(index) == (max(0, behind[0].start - index) if behind else None)
        assert media.missing_behind(index) is next(iter(missing), None)
        assert media.position_at(index) == walked_position(placed, index)
        assert all(media.has_behind(index, one.chunk) == (one in behind) for one in placed)


def walked_position(placed: list[PlacedChunk], index: int) -> int:
    num_skipped = 0
    for one in placed:
        if one.end <= index:
            num_skipped += one.chunk.num_skipped
        elif one.start < index and one.chunk.shape.has_mrope:
            return one.start - num_skipped + one.chunk.shape.num_positions
    return index - num_skipped


def test_a_shift_that_drops_the_last_image_leaves_no_count_behind() -> None:
    seq = seeing()
    seq.shift = ContextShift.keeping(0, CELLS)
    cache = StateCache(FakeBackend(CELLS), num_slots=1, supply=CellSupply(CELLS))
    scheduler = Scheduler(SchedulerLimits(num_slots=1, num_cells=CELLS), cache)
    scheduler.add(seq)

    seq.shift_context(seq.shift)
    scheduler.remove(seq)

    assert not seq.has_media
    assert (seq.num_skipped, seq.position_at(3)) == (0, 3)
    assert scheduler._num_with_media == 0


class RecordedDrafts:
    """MTP layers that nothing computes."""

    width, capacity = 1, 16
    features = FakeFeatures(1)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def draft(self, inputs: list[MtpInputs], lengths: list[int]) -> list[list[int]]:
        raise AssertionError(inputs, lengths)

    def truncate(self, seq_id: int, position: int) -> None:
        """Nothing is kept."""


def test_all_sources_draft_for_a_sequence_whose_last_image_was_dropped() -> None:
    seq = seeing()
    seq.tokens += [2, 3, 4] * 3  # prompt lookup finds it
    backend = FakeBackend(CELLS)
    cache = StateCache(backend, num_slots=1, supply=CellSupply(CELLS))
    layers = MtpLayers(RecordedDrafts(), 1)
    draft_model = DraftModel(backend, cache, CELLS, num_vocab=100)
    sources: list[DraftSource] = [PromptLookup(), draft_model, layers]
    before = [source.acceptance(seq) is not None for source in sources]

    seq.shift_context(ContextShift.keeping(0, CELLS))
    hidden = np.zeros((len(seq.tokens) - 1, 1), np.float32)
    layers.observe(ScheduledChunk(seq, len(hidden)), hidden)

    assert before == [True, False, False]
    assert [source.acceptance(seq) is not None for source in sources] == [True, True, True]


class RecordedCells(FakeBackend):
    """Keeps what cells are removed."""

    removed: tuple[int, int, int] | None = None

    def remove_cells(self, holder: int, start: int, end: int) -> None:
        self.removed = holder, start, end

    def restore_state(self, slot: int, data: memoryview) -> bool:
        return slot >= 0 and bytes(data) == b"state"


def test_a_state_takes_drafts_back_behind_the_positions_of_an_image() -> None:
    seq, memory = seeing(), RecordedCells(CELLS)
    cache = StateCache(memory, num_slots=1, supply=CellSupply(CELLS))
    assert cache.allocate(seq, 1)
    seq.num_computed = len(seq.tokens)

    cache.truncate(seq)

    assert memory.removed == (seq.slot, 2 * NUM_TEXT + NUM_POSITIONS, -1)


def test_a_state_goes_back_to_the_positions_of_its_checkpoint() -> None:
    seq, memory = seeing(), RecordedCells(CELLS)
    cache = StateCache(memory, num_slots=1, supply=CellSupply(CELLS))
    assert cache.allocate(seq, 1)
    seq.num_computed = len(seq.tokens)
    checkpoint = Checkpoint(tuple(seq.tokens[: NUM_TEXT + NUM_TOKENS]), ())
    cache.checkpoints.add(checkpoint, memoryview(b"state"))

    cache.recover(seq)

    assert seq.num_computed == NUM_TEXT + NUM_TOKENS
    assert memory.removed == (seq.slot, NUM_TEXT + NUM_POSITIONS, -1)
