"""Chats behind threads, and the wait for a change."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.errors import OverloadedError
from localrun.server.chats import stored as stored_module
from localrun.server.chats.stored import MAX_WAITING, StoredChats
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path


def stored(folder: Path, *, is_leaving: bool = False) -> StoredChats:
    return StoredChats({"LOCALRUN_CHATS": str(folder)}, lambda: is_leaving)


def test_no_act_runs_on_the_event_loop(tmp_path: Path) -> None:
    chats = stored(tmp_path)

    names = asyncio.run(chats.read(lambda: threading.current_thread().name))

    assert names.startswith("chats")


def test_a_leaving_server_ends_the_waits(tmp_path: Path) -> None:
    assert asyncio.run(stored(tmp_path, is_leaving=True).changed(0, 10 * HANG_S)) == 0


def test_only_so_many_clients_wait_and_a_write_wakes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_module, "POLL_S", 10 * HANG_S)

    async def wait_once_too_often() -> None:
        chats = stored(tmp_path)
        waiting = [asyncio.create_task(chats.changed(0, 10 * HANG_S)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match=f"{MAX_WAITING} clients"):
            await chats.changed(0, HANG_S)
        await chats.write(chats.store.create, "guide")
        revisions = await asyncio.wait_for(asyncio.gather(*waiting), HANG_S)
        assert revisions == [1] * MAX_WAITING
        assert await chats.changed(0, HANG_S) == 1

    asyncio.run(wait_once_too_often())
