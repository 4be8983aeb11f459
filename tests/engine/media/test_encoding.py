"""Encoding beside other work: streams go on, and what nobody needs is not encoded to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.media import encode_pauses
from tests.engine.media.seeing import LIMITS, Pair, Seeing, answer, picture
from tests.engine.media.test_answers import EXACT

if TYPE_CHECKING:
    from localrun.engine.scheduler import ScheduledChunk
    from tests.engine.media.conftest import OpenPair

STORY = "<|im_start|>user\nTell me a story.<|im_end|>\n<|im_start|>assistant\n"
QUESTION = [STORY, picture(1, 640, 480), " What is it?"]


@pytest.fixture
def tiles(open_family: OpenPair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Return a pair whose encodes, of a millisecond each, pause several times."""
    for name in ("TARGET_S", "ALONE_S"):
        monkeypatch.setattr(encode_pauses, name, 0.0001)
    found = open_family("idefics3")
    found.library.embeddings.clear()
    return found


def test_a_stream_goes_on_inside_an_encode(tiles: Pair) -> None:
    seeing = Seeing(tiles)
    (alone,) = seeing.ask([STORY], new=60)
    stream, question = seeing.sequences([STORY], QUESTION, new=60)
    seeing.engine.submit(stream)
    for _ in range(3):
        seeing.step()
    seeing.engine.submit(question)
    num_before = len(stream.tokens)

    seeing.step()
    seeing.step()  # the first one admits the question

    assert seeing.encoder.num_encoded == 1
    assert len(stream.tokens) > num_before + 2
    seeing.finish()
    assert answer(stream) == answer(alone)
    seeing.close()


def count_media_steps(seeing: Seeing, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which each step that computes media adds its number of tokens."""
    steps: list[int] = []
    forward = seeing.context.forward

    def counted(chunks: list[ScheduledChunk]) -> list[list[int]]:
        if chunks[0].seq.is_at_medium:
            steps.append(sum(chunk.num_tokens for chunk in chunks))
        return forward(chunks)

    monkeypatch.setattr(seeing.context, "forward", counted)
    return steps


def test_the_tiles_of_an_image_are_one_batch_with_the_text_between_and_behind_them(
    tiles: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = Seeing(Pair(tiles.model, tiles.projector), options=EXACT)
    joined = Seeing(tiles, options=EXACT)
    num_apart = count_media_steps(apart, monkeypatch)
    num_joined = count_media_steps(joined, monkeypatch)

    (one,), (other,) = apart.ask(QUESTION), joined.ask(QUESTION)

    assert answer(one) == answer(other)
    assert one.media is not None
    assert len(num_apart) == len(one.media.chunks) > 5
    assert one.num_prompt > one.media.end
    assert num_joined == [one.num_prompt - one.media.chunks[0].start]
    apart.close()
    joined.close()


def test_tiles_that_exceed_a_step_are_computed_in_several(tiles: Pair) -> None:
    narrow = replace(LIMITS, step_tokens=50)
    apart = Seeing(Pair(tiles.model, tiles.projector), options=EXACT)
    joined = Seeing(tiles, narrow, EXACT)

    (one,), (other, _) = apart.ask(QUESTION), joined.ask(QUESTION, [STORY], new=12)

    assert answer(one) == answer(other)
    apart.close()
    joined.close()


def test_an_encode_of_a_cancelled_request_ends(tiles: Pair) -> None:
    seeing = Seeing(tiles)
    (expected,) = seeing.ask(QUESTION)
    tiles.library.embeddings.clear()
    seeing.cache.clear()
    (question,) = seeing.sequences(QUESTION)
    cancelling = Seeing(tiles, on_pause=lambda: cancelling.engine.cancel(question.request_id))
    cancelling.engine.submit(question)

    cancelling.finish()

    assert cancelling.encoder.num_encoded == 0
    (again,) = cancelling.sequences(QUESTION)
    cancelling._on_pause = lambda: None
    cancelling.engine.submit(again)
    cancelling.finish()
    assert answer(again) == answer(expected)
    cancelling.close()
    seeing.close()


def test_an_error_beside_an_encode_is_raised_behind_it(tiles: Pair) -> None:
    def fail() -> None:
        raise ValueError("beside")

    seeing = Seeing(tiles, on_pause=fail)
    (question,) = seeing.sequences(QUESTION)
    seeing.engine.submit(question)

    with pytest.raises(ValueError, match="beside"):
        seeing.finish()

    seeing._on_pause = lambda: None
    seeing.finish()
    assert len(answer(question)) == 12
    seeing.close()
