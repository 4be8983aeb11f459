"""The paths of a store, and writes that are whole or not there."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError, StorageError
from localrun.names.parse import parse_name
from localrun.store.layout import (
    MARKER,
    Layout,
    check_version,
    create,
    hex_of,
    write_durably,
)
from localrun.system.files import sync_folder
from tests.store.building import steps_to_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refusing(error: int) -> Callable[..., Any]:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    return refuse


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../x",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "\u0660" * 64,
        "sha256:" + "0" * 63 + "\n",
        "sha512:" + "0" * 64,
        "0" * 64,
        "",
    ],
)
def test_a_digest_that_is_none_never_becomes_a_path(digest: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="not a sha256 digest"):
        Layout(tmp_path).blob(digest)
    with pytest.raises(IntegrityError):
        Layout(tmp_path).link(digest)


@given(st.text())
def test_every_digest_is_64_digits_or_refused(text: str) -> None:
    try:
        digits = hex_of(f"sha256:{text}")
    except IntegrityError:
        return

    assert digits == text
    assert len(digits) == 64


@pytest.mark.parametrize(
    "name",
    [
        "hf.co/owner/repo/" + "模型" * 40 + ".gguf",
        "https://host/" + "模" * 100 + ".gguf",
        "oci://host/" + "n/" * 100 + "model:tag",
    ],
)
def test_long_names_fit_the_file_system_and_stay_apart(name: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = layout.ref(parse_name(name).key)

    path.parent.mkdir(parents=True)
    path.touch()

    assert path != layout.ref(parse_name(f"{name[:-6]}z{name[-5:]}").key)


def test_a_new_store_says_its_format_and_that_backups_may_leave_it_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "store")

    before = check_version(layout)
    create(layout)

    assert (before, check_version(layout)) == (False, True)
    assert (
        (tmp_path / "store" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d17")
    )
    assert list(layout.tmp.iterdir()) == []


def test_many_threads_and_processes_can_create_one_store(tmp_path: Path) -> None:
    for number in range(20):
        layout = Layout(tmp_path / str(number))
        ready = threading.Barrier(8)

        def make(_: int, layout: Layout = layout, ready: threading.Barrier = ready) -> None:
            ready.wait()
            create(layout)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(8)))

        assert check_version(layout)
        assert list(layout.tmp.iterdir()) == []


@pytest.mark.parametrize("content", [b'{"format_version": 2}', b"{}", b'{"format_version": null}'])
def test_a_store_of_another_format_is_refused_and_left_alone(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / MARKER).write_bytes(content)

    with pytest.raises(StorageError, match="has format") as caught:
        create(Layout(tmp_path))

    assert caught.value.hint is not None
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_marker_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(content)

    with pytest.raises(StorageError, match=MARKER):
        check_version(Layout(tmp_path))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_dies_at_any_step_leaves_neither_name_nor_rest(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, step, refusing(errno.EIO))
    final, temporary = tmp_path / "final", tmp_path / "temporary"

    with pytest.raises(OSError, match="Input/output"):
        write_durably(final, b"content", temporary)

    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "final"
    final.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        write_durably(final, b"new", tmp_path / "temporary")

    assert final.read_bytes() == b"old"


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_to_disk(monkeypatch)

    write_durably(tmp_path / "final", b"content", tmp_path / "temporary")

    assert steps == ["fsync", "replace", "fsync"]


def test_a_file_system_that_cannot_fsync_folders_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))

    sync_folder(tmp_path)

    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)


def test_a_full_disk_tells_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC))

    with pytest.raises(StorageError, match="is full") as caught:
        create(Layout(tmp_path))

    assert "localrun prune" in (caught.value.hint or "")
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_names_another(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "mkdir", refusing(error))

    with pytest.raises(StorageError, match="no access") as caught:
        create(Layout(tmp_path / "store"))

    assert "LOCALRUN_MODELS" in (caught.value.hint or "")
