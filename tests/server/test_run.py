from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.server import run
from localrun.server.middleware.activity import Activity
from tests.fakes.virtual_loop import VirtualLoop, run_virtually

if TYPE_CHECKING:
    import pytest
    from starlette.types import Message, Receive, Scope, Send

HOUR_S = 3600.0


def test_freed_memory_is_returned_once_after_each_time_of_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []
    num_released = 0

    def release() -> None:
        nonlocal num_released
        num_released += 1

    async def main(loop: VirtualLoop) -> None:
        activity = Activity(loop.time)
        releasing = asyncio.create_task(run._release_memory(activity))
        for _ in range(2):
            await asyncio.sleep(HOUR_S)
            counts.append(num_released)
            await request(activity)
            await asyncio.sleep(run.RELEASE_S / 2)
            await request(activity)
            counts.append(num_released)
        releasing.cancel()

    monkeypatch.setattr(run, "release_free_memory", release)
    run_virtually(main)

    assert counts == [1, 1, 2, 2]


async def request(activity: Activity) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(2 * run.RELEASE_S)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        return

    await activity.watch(app)({"type": "http", "method": "POST"}, receive, send)
