"""Execution of one batch: it is cancelled whenever that is asked."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import TYPE_CHECKING, cast

import pytest

from localrun.server.batches.batch import BatchRecord, BatchStatus
from localrun.server.batches.batch_store import BatchStore
from localrun.server.batches.execution import BatchExecution
from localrun.server.batches.files import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.server.batches.own_requests import OwnRequests, OwnResponse

CHAT = "/v1/chat/completions"


class HangingRequests:
    """Requests that never end."""

    async def post(self, _path: str, _body: bytes) -> OwnResponse:
        await asyncio.Event().wait()
        raise AssertionError


def added_batch(folder: Path) -> BatchRecord:
    files, batches = FileStore(folder), BatchStore(folder)
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m"}}
    content = io.BytesIO(json.dumps(line).encode() + b"\n")
    file = files.add(content, filename="in.jsonl", purpose="batch", owner="")
    now = int(time.time())
    batch = BatchRecord(
        id=batches.new_id(),
        endpoint=CHAT,
        input_file_id=file.id,
        completion_window="24h",
        created_at=now,
        expires_at=now + 3600,
    )
    batches.write(batch)
    return batch


def execution(folder: Path) -> BatchExecution:
    files, batches = FileStore(folder), BatchStore(folder)
    batch = added_batch(folder)
    requests = cast("OwnRequests", HangingRequests())
    return BatchExecution(batch, batches=batches, files=files, requests=requests, num_parallel=2)


@pytest.mark.parametrize("name", ["_check", "_validate", "_open_results", "_input"])
def test_a_batch_is_cancelled_whatever_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cancelled: list[asyncio.Task[None]] = []

    async def run() -> BatchStatus:
        tested, loop = execution(tmp_path), asyncio.get_running_loop()
        step: Callable[..., object] = getattr(tested, name)

        def step_meanwhile(*args: object) -> object:
            if not cancelled:
                loop.call_soon_threadsafe(
                    lambda: cancelled.append(loop.create_task(tested.cancel()))
                )
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
            return step(*args)

        monkeypatch.setattr(tested, name, step_meanwhile)
        await asyncio.wait_for(tested.run(), 30)
        await cancelled[0]
        return tested.batch.status

    assert asyncio.run(run()) is BatchStatus.CANCELLED
