"""Blobs: whole under their names or not there, whatever dies on the way."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError, NetworkError, StorageError
from localrun.store.blobs import BlobStore, digest_of, file_digest
from localrun.store.link import LinkRecord
from tests.store.building import (
    NO_DIGEST,
    blob_names,
    damage,
    new_store,
    sha256,
    snapshot,
    steps_to_disk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.store.locks import Lease
    from localrun.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "store")


def failing(error: int) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    return fail


def put_linked(store: Store, tool: Path, content: bytes) -> str:
    """Share another tool's file."""
    tool.write_bytes(content)
    with store.lease() as lease:
        temporary = lease.temporary()
        temporary.hardlink_to(tool)
        store.blobs.link(temporary, LinkRecord.of(tool), sha256(content), lease)
    return sha256(content)


def test_bytes_that_were_put_are_found_read_only_under_their_digest(store: Store) -> None:
    with store.lease() as lease:
        digest = store.blobs.put(b"content", lease)

    assert digest == sha256(b"content") == digest_of(b"content")
    assert store.blobs.read(digest, max_bytes=7) == b"content"
    assert store.blobs.path(digest).stat().st_mode & 0o777 == 0o444
    assert file_digest(store.blobs.path(digest)) == digest


@given(chunks=st.lists(st.binary(max_size=50)))
@settings(max_examples=30)
def test_a_stream_is_kept_for_any_cut(
    chunks: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = new_store(tmp_path_factory.mktemp("store"))
    content = b"".join(chunks)

    with store.lease() as lease:
        path = store.blobs.write(iter(chunks), sha256(content), lease)

    assert path.read_bytes() == content
    assert list(store.layout.tmp.iterdir()) == []


def test_wrong_bytes_leave_nothing_behind(store: Store) -> None:
    with store.lease() as lease:
        with pytest.raises(IntegrityError, match="digest mismatch"):
            store.blobs.write([b"other"], sha256(b"content"), lease)
        inside = list(store.layout.tmp.iterdir())

    assert inside == []
    assert blob_names(store.layout) == set()


def test_a_stream_that_breaks_leaves_nothing_behind(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"cont"
        raise NetworkError("gone")

    with pytest.raises(NetworkError), store.lease() as lease:
        store.blobs.write(broken(), sha256(b"content"), lease)

    assert blob_names(store.layout) == set()
    assert list(store.layout.tmp.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize(
    "call",
    [
        lambda blobs, lease: blobs.put(b"content", lease),
        lambda blobs, lease: blobs.write([b"content"], sha256(b"content"), lease),
    ],
)
def test_a_full_disk_at_any_step_leaves_no_name(
    step: str,
    call: Callable[[BlobStore, Lease], None],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with store.lease() as lease:
        monkeypatch.setattr(os, step, failing(errno.ENOSPC))
        with pytest.raises(StorageError, match="is full") as caught:
            call(store.blobs, lease)
        monkeypatch.undo()

    assert "localrun prune" in (caught.value.hint or "")
    assert blob_names(store.layout) == set()
    assert list(store.layout.tmp.iterdir()) == []


def test_a_disk_that_fills_while_bytes_are_written_leaves_no_name(store: Store) -> None:
    with store.lease() as lease:
        full = lease.temporary()
        full.symlink_to("/dev/full")
        lease.temporary = lambda: full  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="is full"):
            store.blobs.write([b"x" * 100_000], sha256(b"x" * 100_000), lease)

    assert blob_names(store.layout) == set()


def test_bytes_reach_the_disk_before_their_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lease() as lease:
        steps = steps_to_disk(monkeypatch)
        store.blobs.put(b"content", lease)

    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:..", "../x", "sha1:00"])
def test_a_digest_that_would_be_a_path_is_refused_everywhere(store: Store, digest: str) -> None:
    before = snapshot(store.layout.root.parent)

    with store.lease() as lease:
        for call in (
            lambda: store.blobs.find(digest),
            lambda: store.blobs.read(digest, max_bytes=9),
            lambda: store.blobs.remove(digest),
            lambda: store.blobs.write([b"x"], digest, lease),
        ):
            with pytest.raises(IntegrityError, match="not a sha256 digest"):
                call()

    assert snapshot(store.layout.root.parent) == before


def test_a_missing_or_damaged_or_large_blob_is_named(store: Store) -> None:
    with store.lease() as lease:
        digest = store.blobs.put(b"content", lease)

    with pytest.raises(IntegrityError, match=f"missing: {NO_DIGEST}"):
        store.blobs.path(NO_DIGEST)
    with pytest.raises(IntegrityError, match="more than 6 bytes"):
        store.blobs.read(digest, max_bytes=6)
    damage(store.blobs.path(digest))
    with pytest.raises(IntegrityError, match=f"damaged: .*{digest[7:]}"):
        store.blobs.read(digest, max_bytes=7)


def test_putting_a_damaged_blob_again_mends_it(store: Store) -> None:
    with store.lease() as lease:
        digest = store.blobs.put(b"content", lease)
        damage(store.blobs.path(digest))

        store.blobs.put(b"content", lease)

    assert store.blobs.read(digest, max_bytes=7) == b"content"


def test_blobs_of_other_stores_are_found_after_ours_and_never_written(tmp_path: Path) -> None:
    other = new_store(tmp_path / "other")
    with other.lease() as lease:
        theirs = other.blobs.put(b"theirs", lease)
    before = snapshot(tmp_path / "other")
    store = new_store(tmp_path / "ours", [tmp_path / "other"])

    with store.lease() as lease:
        again = store.blobs.put(b"theirs", lease)
        ours = store.blobs.put(b"ours", lease)
    freed = store.blobs.remove(theirs)

    assert again == theirs
    assert freed == 0
    assert blob_names(store.layout) == {ours}
    assert store.blobs.path(theirs) == other.layout.blob(theirs)
    assert snapshot(tmp_path / "other") == before


def test_another_store_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "ours", [tmp_path / "other"])
    monkeypatch.setattr("pathlib.Path.is_file", failing(errno.EACCES))

    with pytest.raises(StorageError, match="no access"):
        store.blobs.find(NO_DIGEST)


def test_a_removed_blob_tells_what_it_freed(store: Store, tmp_path: Path) -> None:
    with store.lease() as lease:
        own = store.blobs.put(b"own", lease)
    linked = put_linked(store, tmp_path / "theirs.gguf", b"linked")

    freed = [store.blobs.remove(digest) for digest in (own, own, linked)]

    assert freed == [3, 0, 0]
    assert (tmp_path / "theirs.gguf").read_bytes() == b"linked"
    assert list((store.layout.root / "links").iterdir()) == []


def test_another_tools_file_is_shared_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    tool = tmp_path / "theirs.gguf"

    digest = put_linked(store, tool, b"linked")

    original = store.blobs.link_of(digest)
    assert store.blobs.path(digest).samefile(tool)
    assert tool.stat().st_mode & 0o200
    assert original == LinkRecord.of(tool)


def test_a_shared_file_that_its_tool_changed_is_refused_and_named(
    store: Store, tmp_path: Path
) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")

    tool.write_bytes(b"changed by its tool")

    with pytest.raises(IntegrityError, match=r"theirs\.gguf") as caught:
        store.blobs.path(digest)
    assert caught.value.hint == "localrun verify --repair"


def test_fetching_a_changed_shared_file_again_makes_it_our_own(
    store: Store, tmp_path: Path
) -> None:
    tool = tmp_path / "theirs.gguf"
    digest = put_linked(store, tool, b"linked")
    tool.write_bytes(b"changed by its tool")

    with store.lease() as lease:
        store.blobs.write([b"linked"], digest, lease)

    assert store.blobs.path(digest).read_bytes() == b"linked"
    assert store.blobs.link_of(digest) is None
    assert tool.read_bytes() == b"changed by its tool"


@pytest.mark.parametrize(
    "note", [b"", b"[]", b'{"format_version": 2}', b'{"size_bytes": 1, "modified_ns": 2}']
)
def test_a_damaged_note_counts_as_none(note: bytes, store: Store, tmp_path: Path) -> None:
    digest = put_linked(store, tmp_path / "theirs.gguf", b"linked")
    store.layout.link(digest).write_bytes(note)

    assert store.blobs.link_of(digest) is None
    assert store.blobs.path(digest).read_bytes() == b"linked"


def test_a_note_that_a_kill_left_behind_says_nothing_of_another_file(
    store: Store, tmp_path: Path
) -> None:
    digest = put_linked(store, tmp_path / "theirs.gguf", b"linked")
    store.layout.blob(digest).unlink()

    with store.lease() as lease:
        store.blobs.put(b"linked", lease)

    assert store.blobs.path(digest).read_bytes() == b"linked"
    assert store.blobs.link_of(digest) is None


def test_a_shared_file_reaches_the_disk_before_its_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_to_disk(monkeypatch)

    put_linked(store, tmp_path / "theirs.gguf", b"linked")

    assert steps == ["fsync", "fsync", "replace", "fsync", "replace", "fsync"]


def test_a_blob_that_is_swept_while_it_is_read_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lease() as lease:
        digest = store.blobs.put(b"bytes", lease)
    path = store.blobs.path(digest)
    path.unlink()
    monkeypatch.setattr(BlobStore, "find", lambda *_: path)

    with pytest.raises(IntegrityError, match="is missing"):
        store.blobs.read(digest, max_bytes=10)
