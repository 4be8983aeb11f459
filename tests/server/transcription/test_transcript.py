"""Transcripts: the deltas are the text, and pieces come in order whoever is first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.stream_parser import TextPart
from localrun.errors import RunnerDiedError
from localrun.server.core.choices import stream_in_order
from localrun.server.core.request import CompletionRequest
from localrun.server.middleware.bodies import OpenBodies
from localrun.server.transcription.formats import srt, vtt
from localrun.server.transcription.sound import Sound, SoundPiece
from localrun.server.transcription.transcript import SoundTranscript

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply


def sound(count: int) -> Sound:
    found = Sound(OpenBodies())
    for place in range(count):
        found.add(SoundPiece(place * 25.0, place * 25.0 + 25), b"")
    found.duration_s = count * 25.0
    return found


@given(st.lists(st.lists(st.text(" \n\tab", max_size=4), max_size=5), min_size=1, max_size=4))
def test_the_deltas_joined_are_the_text(pieces: list[list[str]]) -> None:
    transcript = SoundTranscript(sound(len(pieces)))

    deltas = [
        transcript.add(place, TextPart(part))
        for place, parts in enumerate(pieces)
        for part in parts
    ]

    said = ["".join(parts).strip() for parts in pieces]
    assert "".join(deltas) == transcript.text == " ".join(each for each in said if each)


def test_silence_has_no_subtitle_and_no_line_ends_a_cue() -> None:
    transcript = SoundTranscript(sound(145))
    transcript.add(1, TextPart(" one\n\n\ntwo --> three\n"))
    transcript.add(144, TextPart("late"))

    assert srt(transcript) == (
        "1\n00:00:25,000 --> 00:00:50,000\none\ntwo -> three\n\n"
        "2\n01:00:00,000 --> 01:00:25,000\nlate\n\n"
    )
    assert vtt(transcript).startswith("WEBVTT\n\n00:00:25.000 --> 00:00:50.000\none\n")


class Answering:
    """Answers a request with its model's name, once it is allowed."""

    def __init__(self) -> None:
        self.allowed: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.b_has_ended = asyncio.Event()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Reply, None]:
        name = request.model
        self.begun.append(name)
        try:
            await self.allowed.setdefault(name, asyncio.Event()).wait()
            if name == "bad":
                raise RunnerDiedError("it died")
            yield TextPart(name)
        finally:
            self.ended.append(name)
            if name == "b":
                self.b_has_ended.set()

    def allow(self, *names: str) -> None:
        for name in names:
            self.allowed.setdefault(name, asyncio.Event()).set()

    def in_order(self, *names: str) -> AsyncGenerator[tuple[int, Reply], None]:
        requests = [CompletionRequest(model=name) for name in names]
        return stream_in_order(cast("Completions", self), requests, 2)


def test_a_request_is_taken_when_it_begins_and_not_before() -> None:
    taken = list[str]()

    def requests() -> Iterator[CompletionRequest]:
        for name in "abcd":
            taken.append(name)
            yield CompletionRequest(model=name)

    async def act() -> None:
        answering = Answering()
        answering.allow(*"abcd")
        answers = stream_in_order(cast("Completions", answering), requests(), 2)
        assert await anext(answers) == (0, TextPart("a"))
        assert taken == ["a", "b"]
        assert [place async for place, _ in answers] == [1, 2, 3]

    asyncio.run(act())


def test_pieces_come_in_order_two_at_a_time() -> None:
    async def act() -> None:
        answering = Answering()
        answers = answering.in_order("a", "b", "c")
        first = asyncio.ensure_future(anext(answers))
        answering.allow("b")
        await answering.b_has_ended.wait()
        assert not first.done()
        assert answering.begun == ["a", "b"]
        answering.allow("a", "c")
        assert await first == (0, TextPart("a"))
        assert [reply async for reply in answers] == [(1, TextPart("b")), (2, TextPart("c"))]

    asyncio.run(act())


@pytest.mark.parametrize("is_closed", [True, False])
def test_an_error_or_a_client_that_leaves_ends_the_others(*, is_closed: bool) -> None:
    async def act() -> None:
        answering = Answering()
        async with contextlib.aclosing(answering.in_order("first", "bad", "c")) as answers:
            answering.allow("first")
            assert await anext(answers) == (0, TextPart("first"))
            if not is_closed:
                answering.allow("bad")
                with pytest.raises(RunnerDiedError):
                    await anext(answers)
        assert sorted(answering.begun) == sorted(answering.ended)

    asyncio.run(act())
