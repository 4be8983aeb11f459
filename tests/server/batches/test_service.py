"""The task that executes batches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from localrun.server.batches.service import BatchService

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from localrun.server.batches.own_requests import OwnRequests
    from localrun.server.middleware.activity import Activity


def service(folder: Path) -> BatchService:
    requests = cast("OwnRequests", None)
    return BatchService(folder, requests, cast("Activity", None), num_parallel=1)


def test_a_cancellation_that_is_lost_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        tested, begun = service(tmp_path), asyncio.Event()

        async def stubborn() -> float:
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return 3600.0

        monkeypatch.setattr(tested, "_execute_open", stubborn)
        tested.start()
        await begun.wait()
        stopping = asyncio.create_task(tested.stop())
        ended, _ = await asyncio.wait([stopping], timeout=30)
        assert ended

    asyncio.run(run())


def test_an_unexpected_error_does_not_end_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        tested, again = service(tmp_path), asyncio.Event()
        num_calls = 0

        async def failing() -> float:
            nonlocal num_calls
            num_calls += 1
            if num_calls > 1:
                again.set()
                return 3600.0
            raise ValueError("a bug")

        monkeypatch.setattr("localrun.server.batches.service.AFTER_FAILURE_S", 0.0)
        monkeypatch.setattr(tested, "_execute_open", failing)
        tested.start()
        await asyncio.wait_for(again.wait(), 30)
        await tested.stop()

    asyncio.run(run())
