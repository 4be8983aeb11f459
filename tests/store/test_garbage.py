"""What a sweep deletes, and that it never deletes what a name or a lease needs."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.errors import IntegrityError, StorageError
from localrun.names.parse import parse_name
from localrun.store import garbage as garbage_module
from localrun.store.garbage import CollectedGarbage, collect_garbage, referenced_digests
from localrun.store.refs import remove_ref
from localrun.store.store import Store
from localrun.system.locks import lock
from tests.store.building import (
    WEIGHTS,
    blob_names,
    damage,
    new_store,
    put_model,
    ref_paths,
    sha256,
    snapshot,
)
from tests.store.test_locks import first_line, leasing_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

PUTTING = """
import sys, pathlib
from localrun.names.parse import parse_name
from localrun.store.store import Store
from tests.store.building import put_model
store = Store(pathlib.Path(sys.argv[1]))
for number in range(40):
    put_model(store, f"{sys.argv[2]}:{number}", [b"shared", sys.argv[2].encode() * number])
    entry = store.find(parse_name(f"{sys.argv[2]}:{number}"))
    for blob in entry.manifest.blobs:
        store.blobs.read(blob.digest, max_bytes=1 << 20)
"""


def put_blob(store: Store, content: bytes = b"unused") -> str:
    with store.lease() as lease:
        return store.blobs.put(content, lease)


def put_partial(store: Store, name: str, age_s: float = 0) -> Path:
    folder = store.layout.partial / name
    folder.mkdir()
    then = time.time() - age_s
    for path in (folder / "data", folder / "lock"):
        path.write_bytes(b"x" * 5000)
        os.utime(path, (then, then))
    os.utime(folder, (then, then))
    return folder


def test_a_store_that_is_not_there_has_nothing_to_sweep(tmp_path: Path) -> None:
    assert collect_garbage(Store(tmp_path / "store")) == CollectedGarbage()
    assert not (tmp_path / "store").exists()


def test_only_what_no_name_needs_is_deleted(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "model")
    needed = blob_names(store.layout)
    unused = put_blob(store)

    swept = collect_garbage(store)

    assert swept == CollectedGarbage(blobs=(unused,), freed_bytes=len(b"unused"))
    assert blob_names(store.layout) == needed == referenced_digests(store)


def test_a_dry_sweep_says_the_same_and_deletes_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    put_blob(store)
    (tmp_path / "link").hardlink_to(store.blobs.path(put_blob(store, b"linked")))
    put_partial(store, "old", age_s=1e6)
    (store.layout.tmp / "dead-1").touch()
    before = snapshot(tmp_path)

    dry = collect_garbage(store, is_dry=True)
    after = snapshot(tmp_path)

    assert after == before
    assert dry == collect_garbage(store)
    assert dry.freed_bytes == len(b"unused") + 2 * 8192


def test_a_shared_layer_stays_until_its_last_model_goes(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "a", [b"shared", b"a"])
    put_model(store, "b", [b"shared", b"b"])

    remove_ref(store.layout, parse_name("a"))
    first = collect_garbage(store)
    remove_ref(store.layout, parse_name("b"))
    second = collect_garbage(store)

    assert sha256(b"a") in first.blobs
    assert sha256(b"shared") not in first.blobs
    assert sha256(b"shared") in second.blobs
    assert blob_names(store.layout) == set()


def test_a_sweep_of_some_digests_touches_no_other(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put_model(store, "model")
    one, other = put_blob(store, b"one"), put_blob(store, b"other")
    folder = put_partial(store, "old", age_s=1e6)

    swept = collect_garbage(store, only=[one, sha256(WEIGHTS), sha256(b"not here")])

    assert swept == CollectedGarbage(blobs=(one,), freed_bytes=3)
    assert other in blob_names(store.layout)
    assert folder.exists()


def test_what_a_living_process_leases_stays_and_goes_after_it_was_killed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    digest = put_blob(store, b"leased")
    with leasing_process(tmp_path) as process:
        lease_id = first_line(process)
        with (store.layout.leases / lease_id).open("a") as file:
            file.write(f"{digest}\n")

        alive = collect_garbage(store)
        temporary = list(store.layout.tmp.iterdir())
        process.kill()
        process.wait()

    assert alive == CollectedGarbage()
    assert len(temporary) == 1
    assert collect_garbage(store).blobs == (digest,)
    assert list(store.layout.tmp.iterdir()) == []
    assert list(store.layout.leases.iterdir()) == []


@pytest.mark.parametrize("what", ["ref", "manifest", "no manifest"])
def test_nothing_is_deleted_when_it_is_not_known_what_is_needed(what: str, tmp_path: Path) -> None:
    store = new_store(tmp_path)
    stored = put_model(store, "model")
    unused = put_blob(store)
    (ref,) = ref_paths(store.layout)
    if what == "ref":
        ref.write_bytes(b"{")
    elif what == "manifest":
        damage(store.blobs.path(stored.manifest))
    else:
        store.blobs.remove(stored.manifest)
    before = blob_names(store.layout)

    with pytest.raises(IntegrityError, match=str(ref)) as caught:
        collect_garbage(store)

    assert caught.value.hint is not None
    assert blob_names(store.layout) == before
    assert unused in before


def test_nothing_is_deleted_when_a_folder_of_names_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    put_model(store, "model")
    before = blob_names(store.layout)
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if str(path).endswith("library"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError):
        collect_garbage(store)

    assert blob_names(store.layout) == before


def test_files_that_are_none_of_ours_stay(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    stray = [store.layout.blobs / ".nfs0001", store.layout.partial / ".DS_Store"]
    for path in stray:
        path.touch()

    assert collect_garbage(store, partial_kept_s=-1) == CollectedGarbage()
    assert all(path.exists() for path in stray)


def test_only_downloads_that_nobody_goes_on_with_are_deleted(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    old, new = put_partial(store, "old", age_s=1e6), put_partial(store, "new", age_s=60)
    growing = put_partial(store, "growing", age_s=1e6)
    os.utime(growing / "data")
    busy = put_partial(store, "busy", age_s=1e6)

    with (busy / "lock").open() as file:
        lock(file.fileno())
        swept = collect_garbage(store)

    assert swept.partial == ("old",)
    assert [path.exists() for path in (old, new, growing, busy)] == [False, True, True, True]


@given(
    models=st.lists(st.sets(st.integers(0, 5), min_size=1), max_size=6),
    removed=st.sets(st.integers(0, 5)),
)
@settings(max_examples=25, deadline=None)
def test_a_sweep_keeps_exactly_what_names_need(
    models: list[set[int]], removed: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = new_store(tmp_path_factory.mktemp("store"))
    for number, layers in enumerate(models):
        put_model(store, f"model:{number}", [b"layer%d" % layer for layer in layers])
    for number in removed:
        remove_ref(store.layout, parse_name(f"model:{number}"))
    expected = {
        digest
        for entry in store.entries()
        for digest in (entry.ref.manifest, *(blob.digest for blob in entry.manifest.blobs))
    }

    collect_garbage(store)

    assert blob_names(store.layout) == expected


def test_threads_that_make_models_never_lose_a_blob_to_a_sweep(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    def make(thread: int) -> None:
        for number in range(15):
            name = f"model{thread}:{number}"
            put_model(store, name, [b"shared", b"%d" % number])
            entry = store.find(parse_name(name))
            assert entry is not None
            assert all(store.blobs.find(blob.digest) for blob in entry.manifest.blobs)
            remove_ref(store.layout, parse_name(name))

    with ThreadPoolExecutor(5) as pool:
        makers = [pool.submit(make, thread) for thread in range(4)]
        while not all(maker.done() for maker in makers):
            collect_garbage(store)
        for maker in makers:
            maker.result()

    collect_garbage(store)
    assert blob_names(store.layout) == set()


def test_processes_that_make_models_never_lose_a_blob_to_a_sweep(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    commands = [[sys.executable, "-c", PUTTING, str(tmp_path), name] for name in ("a", "b")]

    makers = [subprocess.Popen(command) for command in commands]
    while any(maker.poll() is None for maker in makers):
        collect_garbage(store)

    assert [maker.wait() for maker in makers] == [0, 0]
    assert len(store.entries()) == 80
    assert blob_names(store.layout) == referenced_digests(store)


def has_ref(store: Store, tag: str) -> bool:
    return any(store.layout.refs.rglob(tag))


def test_a_killed_maker_leaves_nothing_that_a_sweep_does_not_find(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for number in range(5):
        name = f"m{number}"
        with subprocess.Popen([sys.executable, "-c", PUTTING, str(tmp_path), name]) as maker:
            wait_until(functools.partial(has_ref, store, str(number)), poll_s=0.002)
            maker.kill()

    collect_garbage(store)

    assert list(store.layout.tmp.iterdir()) == list(store.layout.leases.iterdir()) == []
    assert blob_names(store.layout) == referenced_digests(store)
    for entry in store.entries():
        for blob in entry.manifest.blobs:
            assert len(store.blobs.read(blob.digest, max_bytes=1 << 20)) == blob.size_bytes


def test_what_a_kill_left_of_a_name_or_a_download_goes(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    layout = store.layout
    stored = put_model(store, "model")
    put_partial(store, stored.manifest.removeprefix("sha256:"))  # it is complete by now
    without_bytes = put_partial(store, "just-begun")
    (without_bytes / "data").unlink()
    resumable = put_partial(store, "resumable")
    (layout.refs / "localrun" / "library" / "killed").mkdir()
    (layout.tmp / "dead-1").mkdir()
    (layout.root / "links" / ("0" * 64)).write_bytes(b"{}")

    collect_garbage(store)

    assert list(layout.partial.iterdir()) == [resumable]
    assert list(layout.tmp.iterdir()) == list((layout.root / "links").iterdir()) == []
    assert [path.name for path in (layout.refs / "localrun" / "library").iterdir()] == ["model"]
    assert store.find(parse_name("model")) is not None


def test_a_download_that_begins_while_it_is_swept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    folder = put_partial(store, "old", age_s=1e6)
    with (folder / "lock").open() as file:
        monkeypatch.setattr(
            garbage_module, "_is_locked", lambda _: False
        )  # it was not, just before
        lock(file.fileno())
        collect_garbage(store)

    assert (folder / "data").exists()
