"""Hashing again: what is found bad, and what is deleted for it."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError, StorageError
from localrun.store import verify as verify_module
from localrun.store.blobs import file_digest
from localrun.store.link import LinkRecord
from localrun.store.verify import BadBlob, compare_sizes, quarantine, verify
from tests.store.building import (
    NO_DIGEST,
    WEIGHTS,
    blob_names,
    damage,
    model_digests,
    new_store,
    put_model,
    sha256,
    snapshot,
)
from tests.store.test_blobs import put_linked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "store")


def put(store: Store, content: bytes) -> str:
    with store.lease() as lease:
        return store.blobs.put(content, lease)


def unreadable(error: int) -> Callable[..., str]:
    def fail(path: Path, *_: object) -> str:
        raise OSError(error, os.strerror(error), str(path))

    return fail


def test_a_whole_model_has_no_bad_blob_and_all_its_bytes_are_read(store: Store) -> None:
    put_model(store, "model")
    sizes = model_digests(store, store.entries())
    read: list[int] = []

    found = verify(store, sizes, on_bytes=read.append)

    assert found == []
    assert set(sizes) == blob_names(store.layout)
    assert sizes[sha256(WEIGHTS)] == len(WEIGHTS)
    assert sum(read) == sum(sizes.values())


@given(
    states=st.lists(st.sampled_from(["good", "missing", "damaged", "cut"]), max_size=8),
    num_threads=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_exactly_the_bad_blobs_are_found_in_order(
    states: list[str], num_threads: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = new_store(tmp_path_factory.mktemp("store"))
    contents = [b"content %d" % number for number in range(len(states))]
    expected = []
    for state, content in zip(states, contents, strict=True):
        path = store.blobs.path(put(store, content))
        if state == "missing":
            path.unlink()
            expected.append(BadBlob(digest=sha256(content), size_bytes=None, reason="missing"))
        elif state != "good":
            damage(path)
            os.truncate(path, len(content) - (state == "cut"))
            size = path.stat().st_size
            expected.append(BadBlob(digest=sha256(content), size_bytes=size, reason="damaged"))

    found = verify(store, [sha256(content) for content in contents * 2], num_threads=num_threads)

    assert found == expected


def test_a_blob_that_cannot_be_read_is_told_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content")
    monkeypatch.setattr(verify_module, "file_digest", unreadable(errno.EIO))

    found = verify(store, [digest])

    assert found == [BadBlob(digest=digest, size_bytes=7, reason="unreadable")]


def test_a_blob_that_is_swept_meanwhile_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content")
    monkeypatch.setattr(verify_module, "file_digest", unreadable(errno.ENOENT))

    assert [bad.reason for bad in verify(store, [digest])] == ["missing"]


def test_progress_is_told_by_one_thread_at_a_time(store: Store) -> None:
    digests = [put(store, b"%d" % number * 1000) for number in range(50)]
    calling = threading.Lock()
    counted = 0

    def count(num_bytes: int) -> None:
        nonlocal counted
        assert calling.acquire(blocking=False)
        before = counted
        threading.Event().wait(0.0005)
        counted = before + num_bytes
        calling.release()

    verify(store, digests, on_bytes=count, num_threads=8)

    assert counted == sum(len(b"%d" % number) * 1000 for number in range(50))


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_a_failure_of_the_progress_ends_the_work_and_is_no_fault_of_a_blob(
    store: Store, error: type[BaseException]
) -> None:
    digests = [put(store, b"%d" % number) for number in range(50)]
    calls: list[int] = []

    def fail(count: int) -> None:
        calls.append(count)
        raise error

    with pytest.raises(error):
        verify(store, digests, on_bytes=fail)

    assert len(calls) == 1


def test_a_shared_file_that_was_touched_but_not_changed_is_trusted_again(
    store: Store, tmp_path: Path
) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")
    os.utime(tool, (1, 1))

    found = verify(store, [digest])

    assert found == []
    assert store.blobs.path(digest).read_bytes() == b"linked"
    assert store.blobs.link_of(digest) == LinkRecord.of(tool)


def test_a_shared_file_that_was_changed_is_damaged_and_not_trusted(
    store: Store, tmp_path: Path
) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")
    noted = store.blobs.link_of(digest)
    tool.write_bytes(b"LINKED")

    found = verify(store, [digest])

    assert [bad.reason for bad in found] == ["damaged"]
    assert store.blobs.link_of(digest) == noted


def test_a_file_that_changes_right_after_it_was_read_is_not_trusted(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")
    os.utime(tool, (1, 1))

    def read_then_change(path: Path, on_bytes: Callable[[int], None]) -> str:
        read = file_digest(path, on_bytes)
        tool.write_bytes(b"changed by its tool")
        return read

    monkeypatch.setattr(verify_module, "file_digest", read_then_change)
    verify(store, [digest])

    with pytest.raises(IntegrityError, match="another program changed"):
        store.blobs.path(digest)


def test_other_stores_are_checked_and_not_written(tmp_path: Path) -> None:
    other = new_store(tmp_path / "other")
    good, bad = put(other, b"good"), put(other, b"bad")
    damage(other.blobs.path(bad))
    before = snapshot(tmp_path / "other")
    store = new_store(tmp_path / "ours", [tmp_path / "other"])

    found = verify(store, [good, bad])

    assert [blob.digest for blob in found] == [bad]
    assert not quarantine(store, bad)
    assert snapshot(tmp_path / "other") == before


def test_only_a_blob_that_is_wrong_is_deleted(store: Store) -> None:
    good, bad = put(store, b"good"), put(store, b"bad")
    damage(store.blobs.path(bad))

    deleted = [quarantine(store, digest) for digest in (good, bad, bad, NO_DIGEST)]

    assert deleted == [False, True, False, False]
    assert blob_names(store.layout) == {good}


def test_another_tools_changed_file_stays_where_it_is(store: Store, tmp_path: Path) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")
    tool.write_bytes(b"changed")

    assert quarantine(store, digest)

    assert tool.read_bytes() == b"changed"
    assert store.blobs.link_of(digest) is None
    assert blob_names(store.layout) == set()


def test_a_blob_that_was_fetched_again_meanwhile_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content")
    damage(store.blobs.path(digest))

    def read_then_fetch(path: Path) -> str:
        read = file_digest(path)
        put(store, b"content")
        return read

    monkeypatch.setattr(verify_module, "file_digest", read_then_fetch)

    assert not quarantine(store, digest)
    assert store.blobs.read(digest, max_bytes=7) == b"content"


def test_rotten_bytes_are_deleted_and_a_refused_file_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content")

    monkeypatch.setattr(verify_module, "file_digest", unreadable(errno.EACCES))
    with pytest.raises(StorageError):
        quarantine(store, digest)
    monkeypatch.setattr(verify_module, "file_digest", unreadable(errno.EIO))

    assert quarantine(store, digest)
    assert blob_names(store.layout) == set()


def test_sizes_are_compared_without_reading_a_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    good, cut, gone = (put(store, content) for content in (b"good", b"cut", b"gone"))
    os.truncate(store.layout.blob(cut), 2)
    store.layout.blob(gone).unlink()
    store.layout.blob(good).chmod(0)

    bad = compare_sizes(store, {good: 4, cut: 3, gone: 4})

    assert [(blob.digest, blob.reason, blob.size_bytes) for blob in bad] == [
        (cut, "damaged", 2),
        (gone, "missing", None),
    ]
