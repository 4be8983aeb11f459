"""Sounds of transcriptions: how many are open, decoded and waiting at once."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, cast

import pytest

from localrun.errors import OverloadedError
from localrun.server.transcription import sound as module
from localrun.server.transcription.sound import Sounds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.jobs import Jobs

WAV = b"wav".ljust(1000)


class FakeJobs:
    """Jobs that cut each sound into three pieces, once they are allowed."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.num_begun = 0
        self.has_begun = asyncio.Event()

    async def run(
        self, order: dict[str, Any], file: bytes = b""
    ) -> AsyncGenerator[dict[str, Any], None]:
        assert (order["kind"], file) == ("cut sound", b"x")
        self.num_begun += 1
        self.has_begun.set()
        await self.allowed.wait()
        for start_s in range(3):
            wav = base64.b64encode(WAV).decode()
            yield {"piece": wav, "start_s": start_s, "end_s": start_s + 1}
        yield {"result": {"duration_s": 3.0}}


def sounds(jobs: FakeJobs, num_pieces: int = 1000) -> Sounds:
    return Sounds(cast("Jobs", jobs), num_pieces * len(WAV))


async def cut(found: Sounds) -> None:
    async with found.cut(b"x"):
        pass


def test_the_waiting_pieces_of_all_sounds_are_bounded() -> None:
    async def act() -> None:
        jobs = FakeJobs()
        jobs.allowed.set()
        found = sounds(jobs, 5)
        async with found.cut(b"x") as first:
            with pytest.raises(OverloadedError, match="decoded sounds already"):
                await cut(found)
            wavs = first.take_wavs()
            assert next(wavs) == WAV
            await cut(found)  # there is space for it now
        async with found.cut(b"x") as again:
            assert list(again.take_wavs()) == [WAV] * 3
            assert (len(again.pieces), again.duration_s) == (3, 3.0)

    asyncio.run(act())


def test_few_sounds_are_decoded_at_once_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act() -> None:
        jobs = FakeJobs()
        found = sounds(jobs)
        both = asyncio.gather(cut(found), cut(found))
        await jobs.has_begun.wait()
        await asyncio.sleep(0)
        assert jobs.num_begun == 1
        jobs.allowed.set()
        await both
        assert jobs.num_begun == 2

    monkeypatch.setattr(module, "MAX_CUT", 1)
    asyncio.run(act())


def test_many_open_sounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        jobs = FakeJobs()
        jobs.allowed.set()
        found = sounds(jobs)
        async with found.cut(b"x"):
            with pytest.raises(OverloadedError, match="1 sounds are read already"):
                await cut(found)
        await cut(found)

    monkeypatch.setattr(module, "MAX_OPEN", 1)
    asyncio.run(act())
