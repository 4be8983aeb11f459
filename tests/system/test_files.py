"""File access that differs between systems."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from localrun.system.files import (
    bytes_on_disk,
    grants,
    is_own,
    read_at,
    replace_file,
    sync_file,
    sync_folder,
    write_at,
)  # fmt: skip

SYSTEMS = [sys.platform, "win32"]


@pytest.fixture(params=sorted(set(SYSTEMS)))
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", request.param)


@pytest.mark.usefixtures("_system")
def test_bytes_are_read_and_written_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789")
    descriptor, buffer = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)), bytearray(4)
    try:
        assert write_at(descriptor, memoryview(b"ab"), 3) == 2
        assert read_at(descriptor, memoryview(buffer), 2) == 4
        assert bytes(buffer) == b"2ab5"
        assert read_at(descriptor, memoryview(buffer), 8) == 2
        assert read_at(descriptor, memoryview(buffer), 99) == 0
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("_system")
def test_a_file_is_replaced_and_synced(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    new.write_text("new")

    replace_file(new, old)
    sync_file(old)
    sync_folder(tmp_path)

    assert old.read_text() == "new"
    assert is_own(old.stat())
    assert bytes_on_disk(old.stat()) > 0


def test_windows_waits_until_nobody_has_the_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if len(waits) < 3:
            raise PermissionError(13, "open in another process")
        return real(self, target)

    (tmp_path / "new").write_text("new")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr("time.sleep", waits.append)

    replace_file(tmp_path / "new", tmp_path / "old")

    assert (tmp_path / "old").read_text() == "new"
    assert len(waits) == 3


def test_windows_has_no_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.touch()
    path.chmod(0o666)
    here = grants(path.stat(), 0o077)
    monkeypatch.setattr(sys, "platform", "win32")

    assert here or sys.platform == "win32"
    assert not grants(path.stat(), 0o077)
