from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from localrun.server.middleware.activity import Activity
from tests.fakes.virtual_loop import VirtualLoop, run_virtually

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def receive() -> Message:
    return {"type": "http.request"}


async def send(_: Message) -> None:
    return


def test_idle_time_counts_from_the_end_of_the_last_request() -> None:
    now = 100.0
    activity = Activity(lambda: now)
    during: list[float] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal now
        now += 30
        during.append(activity.idle_s)

    now += 50
    before = activity.idle_s
    asyncio.run(call(activity, app, {"type": "http", "method": "POST"}))
    now += 7

    assert (before, during, activity.idle_s) == (50, [0], 7)


@pytest.mark.parametrize("scope", [{"type": "lifespan"}, {"type": "http", "method": "GET"}])
def test_a_look_and_the_life_of_the_server_itself_are_no_use(scope: Scope) -> None:
    now = 100.0
    activity = Activity(lambda: now)
    during: list[float] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        during.append(activity.idle_s)

    now += 50
    asyncio.run(call(activity, app, scope))

    assert during == [50]


def test_the_end_of_an_idle_time_is_waited_for_by_its_deadline() -> None:
    async def main(loop: VirtualLoop) -> None:
        activity = Activity(loop.time)

        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            await asyncio.sleep(400)

        waiting = asyncio.create_task(activity.wait_until_idle(600))
        await asyncio.sleep(300)
        await call(activity, app, {"type": "http", "method": "POST"})
        await waiting

    loop = run_virtually(main)

    assert loop.now == 300 + 400 + 600
    assert loop.num_wakeups <= 5


async def call(activity: Activity, app: ASGIApp, scope: Scope) -> None:
    await activity.watch(app)(scope, receive, send)
