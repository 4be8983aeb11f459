"""The task that executes batches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from localrun.server.batches.batch import BatchRecord, BatchStatus
from localrun.server.batches.own_requests import OwnResponse
from localrun.server.batches.service import BatchService
from localrun.server.middleware.activity import Activity
from tests.server.batches.test_execution import HangingRequests, added_batch
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from localrun.server.batches.own_requests import OwnRequests


class AnsweringRequests:
    """Requests that are answered at once."""

    async def post(self, _path: str, _body: bytes) -> OwnResponse:
        return OwnResponse(status=200, request_id="r", body=b"{}")


def service(folder: Path, requests: object = None) -> BatchService:
    return BatchService(folder, cast("OwnRequests", requests), Activity(), num_parallel=1)


async def ended(tested: BatchService, batch: BatchRecord) -> BatchRecord:
    await asyncio.to_thread(wait_until, lambda: not tested.batches.current(batch).status.is_open)
    return tested.batches.current(batch)


def test_a_batch_is_executed_by_the_server_that_got_it_while_another_one_is_idle(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        first, second = (service(tmp_path, AnsweringRequests()) for _ in range(2))
        first.start()
        await ended(first, added_batch(tmp_path))
        await asyncio.to_thread(wait_until, lambda: not first.has_lock)

        batch = added_batch(tmp_path)
        second.start()
        done = await ended(second, batch)

        assert done.status is BatchStatus.COMPLETED
        await first.stop()
        await second.stop()

    asyncio.run(run())


def test_a_batch_is_cancelled_by_a_server_that_does_not_execute_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.server.batches.service.CANCELLED_ELSEWHERE_S", 0.0)

    async def run() -> None:
        first, second = (service(tmp_path, HangingRequests()) for _ in range(2))
        batch = added_batch(tmp_path)
        first.start()
        in_progress = BatchStatus.IN_PROGRESS
        await asyncio.to_thread(
            wait_until, lambda: first.batches.current(batch).status is in_progress
        )

        await second.cancel(second.batches.current(batch))

        assert (await ended(second, batch)).status is BatchStatus.CANCELLED
        await first.stop()
        await second.stop()

    asyncio.run(run())


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
