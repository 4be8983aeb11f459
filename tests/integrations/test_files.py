from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from localrun.errors import StorageError, UsageError
from localrun.integrations.files import BOM, read_content, remove_content, replace_content

MOST = 1000
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and FIFOs of Unix")


def replace(path: Path, text: str) -> None:
    before = read_content(path, MOST)
    replace_content(before, before.encoded(text))


@on_unix
def test_permissions_and_the_mark_of_utf8_stay(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(BOM + b"{}")
    path.chmod(0o640)

    replace(path, '{"a": 1}')

    assert path.read_bytes() == BOM + b'{"a": 1}'
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["settings.json"]


@on_unix
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    target = tmp_path / "dotfiles" / "real"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)

    replace(link, "new")

    assert link.is_symlink()
    assert target.read_text() == "new"


@on_unix
def test_a_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.toml"

    replace(path, "x = 1\n")

    assert path.read_text() == "x = 1\n"
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_was_changed_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    before = read_content(path, MOST)
    path.write_text("two")

    with pytest.raises(UsageError, match="changed meanwhile"):
        replace_content(before, b"three")
    with pytest.raises(UsageError, match="changed meanwhile"):
        remove_content(before)

    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appeared_meanwhile_is_left(tmp_path: Path) -> None:
    before = read_content(tmp_path / "x", MOST)
    (tmp_path / "x").write_text("")

    with pytest.raises(UsageError, match="changed meanwhile"):
        replace_content(before, b"ours")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b" " * (MOST + 1))

    with pytest.raises(UsageError, match="more than"):
        read_content(tmp_path / "x", MOST)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}", encoding="utf-16")

    with pytest.raises(UsageError, match="UTF-8"):
        _ = read_content(tmp_path / "x", MOST).text


@on_unix
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)  # type: ignore[attr-defined,unused-ignore] # not on Windows
    else:
        path.mkdir()

    with pytest.raises((UsageError, StorageError)):
        read_content(path, MOST)


@on_unix
def test_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(StorageError):
        read_content(tmp_path / "a", MOST)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_an_error_and_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    real_open = os.open
    monkeypatch.setattr(
        "localrun.integrations.files.os.open",
        lambda name, flags, *mode: (
            real_open("/dev/full", os.O_WRONLY)
            if ".tmp-" in str(name)
            else real_open(name, flags, *mode)
        ),
    )

    with pytest.raises(StorageError, match="full"):
        replace(path, "new")

    assert path.read_text() == "old"
