"""The file of an index: whatever happens to it, the worst is an empty index."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.store import index as index_module
from localrun.store.index import MAX_INDEXES, StoreIndex
from tests.store.building import steps_to_disk
from tests.unix_calls import make_pipe, user_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index" / "of-a-store"


def saved(path: Path, **lines: object) -> StoreIndex:
    index = StoreIndex(path)
    for key, value in lines.items():
        index.put(key, value)
    index.save()
    return index


def test_another_process_reads_what_one_saved(path: Path) -> None:
    saved(path, a=[1, "two"], b={"name": "ä\n \udcff"})

    index = StoreIndex(path)

    assert (index.get("a"), index.get("b"), index.get("c")) == (
        [1, "two"],
        {"name": "ä\n \udcff"},
        None,
    )


def test_the_file_and_its_folders_are_private(path: Path) -> None:
    umask = os.umask(0)
    try:
        saved(path, a=1)
    finally:
        os.umask(umask)

    modes = [entry.stat().st_mode & 0o777 for entry in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_nothing_is_written_if_nothing_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(path, a=1)
    steps = steps_to_disk(monkeypatch)
    before = path.stat().st_ino

    index = StoreIndex(path)
    index.get("a")
    index.keep(lambda _: True)
    index.save()

    assert (steps, path.stat().st_ino) == ([], before)


@given(data=st.data())
def test_a_damaged_file_counts_as_empty(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("index") / "file"
    saved(path, a=1, b=2)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
                content + b"c 3\n",
                content[at:],
            ]
        ).filter(lambda changed: changed != content)
    )
    path.write_bytes(damaged)

    index = StoreIndex(path)

    assert [index.get(key) for key in "abc"] == [None, None, None]
    index.put("b", 3)
    index.save()
    assert StoreIndex(path).get("b") == 3


def test_the_file_of_another_version_counts_as_empty(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(path, a=1)

    monkeypatch.setattr(index_module, "__version__", "0.0.1")

    assert StoreIndex(path).get("a") is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_read(path: Path, mode: int) -> None:
    saved(path, a=1)
    path.chmod(mode)

    assert StoreIndex(path).get("a") is None


def test_a_file_of_another_user_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(path, a=1)
    another = user_id() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)

    assert StoreIndex(path).get("a") is None


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_read(path: Path, kind: str) -> None:
    saved(path.with_name("elsewhere"), a=1)
    if kind == "link":
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "pipe":
        make_pipe(path)
    else:
        path.mkdir()

    index = StoreIndex(path)

    assert index.get("a") is None
    index.put("a", 2)
    index.save()
    assert index.get("a") == 2
    assert StoreIndex(path.with_name("elsewhere")).get("a") == 1


def test_a_folder_that_cannot_be_written_means_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    index = saved(tmp_path / "file" / "index", a=1)

    assert index.get("a") == 1


def test_a_full_disk_leaves_no_partial_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(path, a=1)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_module, "write_all", refuse)
    saved(path, b=2)

    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_write_keeps_what_another_process_added(path: Path) -> None:
    ours = saved(path, a=1)
    saved(path, b=2)

    ours.put("c", 3)
    ours.save()

    assert [StoreIndex(path).get(key) for key in "abc"] == [1, 2, 3]


def test_a_line_that_another_process_added_is_found(path: Path) -> None:
    ours = saved(path, a=1)
    saved(path, b=2)

    assert ours.get("b") == 2


def test_removed_lines_do_not_come_back(path: Path) -> None:
    ours = saved(path, a=1, b=2)
    saved(path, c=3)

    ours.keep(lambda key: key != "a")
    ours.save()

    assert [StoreIndex(path).get(key) for key in "abc"] == [None, 2, 3]
    assert ours.get("a") is None


def test_concurrent_writers_leave_a_whole_file(path: Path) -> None:
    def write(name: str) -> None:
        index = StoreIndex(path)
        for number in range(20):
            index.put(f"{name}-{number}", "x" * 1000)
            index.save()

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    head, _, lines = path.read_bytes().partition(b"\n")
    assert int(head.split()[-1]) == len(lines)
    last = [StoreIndex(path).get(f"{name}-19") for name in "abcd"]
    assert last.count("x" * 1000) >= 1  # the last writer's at least
    assert list(path.parent.iterdir()) == [path]


def test_the_index_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_BYTES", 3000)
    index = StoreIndex(path)

    for number in range(10):
        index.put(str(number), "x" * 990)
        index.put(str(number), "x" * 991)
    index.save()

    assert [index.get(str(number)) is not None for number in range(4)] == [True, True, True, False]
    assert path.stat().st_size < 4000


def test_old_indexes_and_the_files_of_killed_writers_go(path: Path) -> None:
    for number in range(MAX_INDEXES + 5):
        saved(path.with_name(f"index-{number:03}"), a=1)
        os.utime(path.with_name(f"index-{number:03}"), ns=(0, number))
    path.with_name("index-000-0123abcd.tmp-999999999").write_bytes(b"half")

    saved(path, a=1)

    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {path.name, *(f"index-{number:03}" for number in range(6, MAX_INDEXES + 5))}


def test_a_value_is_json_on_one_line(path: Path) -> None:
    saved(path, a="one\ntwo\r\u2028")

    lines = path.read_bytes().splitlines()

    assert len(lines) == 2
    assert json.loads(lines[1].partition(b" ")[2]) == "one\ntwo\r\u2028"
