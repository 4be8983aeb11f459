"""The disk as downloads meet it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localrun.registry.transfer.disk import start_writeback

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
def test_the_disk_begins_with_what_was_written(tmp_path: Path) -> None:
    begin = start_writeback()

    with (tmp_path / "data").open("wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        assert begin is not None
        assert begin(file.fileno()) == 0
        descriptor = file.fileno()
    assert begin(descriptor) == -1  # told, not raised: nothing depends on it


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_begin_by_themselves(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    assert start_writeback.__wrapped__() is None


def test_a_libc_without_the_call_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())

    assert start_writeback.__wrapped__() is None
