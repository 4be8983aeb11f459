"""Creation of the database of chats, beside other processes."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from localrun.conversations import schema

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_two_processes_may_create_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chats.db"
    other = sqlite3.connect(path, isolation_level=None)
    own = sqlite3.connect(path, isolation_level=None, timeout=0)
    with contextlib.closing(other), contextlib.closing(own):
        other.execute("BEGIN EXCLUSIVE")
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", pause)
        own.execute("PRAGMA busy_timeout = 0")
        schema._write_ahead(own)  # what is read before would wait

        schema.prepare(own)

        assert len(pauses) == 1
        assert own.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert own.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
