"""Leases of this process, of others, and of processes that are dead."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localrun.errors import StorageError
from localrun.store.locks import living_leases, locked, try_lock
from localrun.system.locks import NoLocksError
from tests.store.building import NO_DIGEST, new_store

LEASING = """
import sys, pathlib
from localrun.store.store import Store
with Store(pathlib.Path(sys.argv[1])).lease([sys.argv[2]]) as lease:
    lease.temporary().write_bytes(b"half")
    print(lease.id, flush=True)
    sys.stdin.read()
"""


def leasing_process(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LEASING, str(root), NO_DIGEST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_lease_lives_while_its_block_runs(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    with store.lease([NO_DIGEST]) as lease:
        lease.add(["sha256:more"])
        inside = living_leases(store.layout)

    assert inside == {lease.id: {NO_DIGEST, "sha256:more"}}
    assert living_leases(store.layout) == {}
    assert list(store.layout.leases.iterdir()) == []


def test_what_a_lease_was_writing_goes_with_it_also_after_an_error(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    def fail() -> None:
        with store.lease() as lease:
            lease.temporary().write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert list(store.layout.tmp.iterdir()) == []
    assert list(store.layout.leases.iterdir()) == []


def test_the_lease_of_another_process_ends_with_it_however_that_ends(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with leasing_process(tmp_path) as process:
        lease_id = first_line(process)

        alive = living_leases(store.layout)
        process.kill()
        process.wait()

    assert alive == {lease_id: {NO_DIGEST}}
    assert (store.layout.leases / lease_id).exists()
    assert living_leases(store.layout) == {}
    assert not (store.layout.leases / lease_id).exists()


def test_threads_of_one_lease_never_share_a_temporary_nor_tear_a_line(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    digests = [f"sha256:{number:064}" for number in range(400)]

    with store.lease() as lease, ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(lambda _: lease.temporary(), range(2000)))
        list(pool.map(lambda digest: lease.add([digest]), digests))
        leased = living_leases(store.layout)[lease.id]

    assert len(set(paths)) == 2000
    assert leased == set(digests)


def test_a_digest_after_a_torn_line_is_still_leased(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    with store.lease() as lease:
        lease._file.write(b"\nsha256:torn")
        lease.add([NO_DIGEST])
        leased = living_leases(store.layout)[lease.id]

    assert NO_DIGEST in leased


def test_a_full_disk_is_told_when_a_lease_grows(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    with store.lease() as lease, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), lease._file.fileno())
        with pytest.raises(StorageError, match="is full"):
            lease.add([NO_DIGEST])

    assert list(store.layout.leases.iterdir()) == []


def test_beginning_a_lease_waits_for_a_sweep(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    begun = threading.Event()

    def begin() -> None:
        with store.lease():
            begun.set()

    thread = threading.Thread(target=begin)
    with locked(store.layout.lock):
        thread.start()
        was_begun = begun.wait(0.2)
    thread.join()

    assert not was_begun
    assert begun.is_set()


def test_a_lock_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()

    with path.open() as first, path.open() as second:
        taken = [try_lock(first.fileno()), try_lock(second.fileno())]

    assert taken == [True, False]


class TestWithoutLocks:
    """On a file system that has none."""

    @pytest.fixture(autouse=True)
    def _no_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lock(*_: Any, **__: Any) -> None:
            raise NoLocksError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr("localrun.store.locks.lock", lock)

    def test_leases_work_and_all_count_as_living(self, tmp_path: Path) -> None:
        store = new_store(tmp_path)
        (store.layout.leases / "old").write_text(f"{NO_DIGEST}\n")

        with store.lease() as lease:
            living = living_leases(store.layout)

        assert set(living) == {"old", lease.id}

    def test_nothing_is_swept(self, tmp_path: Path) -> None:
        with (
            pytest.raises(StorageError, match="does not support locks"),
            locked(new_store(tmp_path).layout.lock),
        ):
            pass
