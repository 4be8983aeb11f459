"""Each byte is written once, and the hash is of what is on the disk."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.registry.transfer import progress as progress_module
from localrun.registry.transfer.journal import DownloadState, HashCheckpoint
from localrun.registry.transfer.progress import MEBI, DownloadProgress, DownloadTask
from localrun.registry.transfer.ranges import Ranges
from localrun.system.files import write_at
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = random.Random(3).randbytes(9 * MEBI + 12_345)  # noqa: S311


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.touch()
    return path


@contextmanager
def begun(
    path: Path, *, size: int = len(DATA), mark: DownloadState | None = None, num_streams: int = 4
) -> Iterator[DownloadProgress]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    progress = DownloadProgress(descriptor, size, mark or DownloadState(Ranges()), num_streams)
    try:
        yield progress
    finally:
        progress.stop()
        os.close(descriptor)


class Small:
    """Sizes by which a file of a few hundred bytes is a large one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress_module, "MEBI", 64)
        monkeypatch.setattr(progress_module, "SMALLEST_TASK", 32)
        monkeypatch.setattr(progress_module, "LARGEST_TASK", 128)


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        Small(monkeypatch)
        yield


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 70)), max_size=60)
KNOWN = st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, known=KNOWN)
@pytest.mark.usefixtures("small")
def test_any_interleaving_writes_each_byte_once(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, int]],
    known: list[tuple[int, int]],
) -> None:
    """A step: a worker takes a task, writes to it, or, with a count of 0, gives it back."""
    size, written = 999, [0] * 999
    path = tmp_path_factory.mktemp("progress") / "data"
    path.write_bytes(DATA[:size])
    mark = DownloadState(Ranges([(a, b) for a, b in known if a < b]))
    for start, end in mark.ranges.intervals():
        written[start:end] = [1] * (end - start)

    def count(descriptor: int, view: memoryview, position: int) -> int:
        num = min(len(view), 17)  # as a disk that takes less than it is given
        for index in range(position, position + num):
            written[index] += 1
        return real_write(descriptor, view[:num], position)

    real_write, tasks = write_at, dict[int, DownloadTask]()
    with pytest.MonkeyPatch.context() as monkeypatch, begun(path, size=size, mark=mark) as progress:
        monkeypatch.setattr(progress_module, "write_at", count)
        for worker, amount in [*steps, *[(n % 4, 50) for n in range(400)]]:
            if worker not in tasks:
                task = progress._next_gap() or progress._share()
                if task is None:
                    continue
                progress._tasks.append(task)
                tasks[worker] = task
            task = tasks[worker]
            piece = DATA[task.position : task.position + amount]
            if amount == 0 or not progress.write(task, piece):
                progress.release(tasks.pop(worker))

        assert written == [1] * size
        assert progress.done_bytes == size
        progress.hash_all()
        assert progress.is_complete
        assert progress.hexdigest() == hashlib.sha256(DATA[:size]).hexdigest()


def test_who_is_far_ahead_waits_for_the_hasher(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LEAD_BYTES", 2 * MEBI)
    monkeypatch.setattr(progress_module, "LARGEST_TASK", 2 * MEBI)
    with begun(path, num_streams=1) as progress:
        for _ in range(2):
            task = progress.next_task()
            assert task is not None
            progress.write(task, DATA[task.position : task.end])
            progress.release(task)
        taken: list[DownloadTask | None] = []
        waiting = threading.Thread(target=lambda: taken.append(progress.next_task()))
        waiting.start()
        waiting.join(0.1)
        assert taken == []
        hashing = threading.Thread(target=progress.hash_all)
        hashing.start()
        waiting.join()

        (task,) = taken
        assert task is not None
        assert progress.hashed_bytes >= task.position - 2 * MEBI > 0
        progress.stop()
        hashing.join()


def test_nobody_waits_for_what_is_there_from_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "LEAD_BYTES", MEBI)
    path.write_bytes(DATA[: 5 * MEBI])

    with begun(path, mark=DownloadState(Ranges([(0, 5 * MEBI)]))) as progress:
        task = progress.next_task()

        assert task is not None
        assert task.position == 5 * MEBI


def test_threads_that_share_and_give_back_fill_the_file(path: Path) -> None:
    def work(progress: DownloadProgress, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while (task := progress.next_task()) is not None:
            while chance.random() > 0.05:
                count = chance.randrange(1, 300_000)
                if not progress.write(task, DATA[task.position : task.position + count]):
                    break
            progress.release(task)

    with begun(path) as progress:
        threads = [threading.Thread(target=work, args=(progress, seed)) for seed in range(5)]
        for thread in threads:
            thread.start()
        progress.hash_all()
        for thread in threads:
            thread.join(HANG_S)

        assert progress.hexdigest() == hashlib.sha256(DATA).hexdigest()
    assert path.read_bytes() == DATA


def test_what_is_shared_begins_after_what_is_being_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that wrote a byte twice: a share in the middle of a write."""
    shared = list[DownloadTask | None]()
    real = write_at

    def share_first(descriptor: int, view: memoryview, position: int) -> int:
        monkeypatch.setattr(progress_module, "write_at", real)
        shared.append(progress._share())
        return real(descriptor, view, position)

    with begun(path, size=4 * MEBI, num_streams=1) as progress:
        progress._tasks.append(task := DownloadTask(0, 4 * MEBI))
        monkeypatch.setattr(progress_module, "write_at", share_first)
        progress.write(task, DATA[: 2 * MEBI])

    assert shared[0] is not None
    assert task.position == 2 * MEBI <= shared[0].position == task.end


def test_a_byte_that_is_there_is_not_written_again(path: Path) -> None:
    path.write_bytes(DATA[:300])
    mark = DownloadState(Ranges([(100, 200), (250, 300)]))

    with begun(path, size=300, mark=mark) as progress:
        task = progress.next_task_to_end()
        assert task is not None
        assert progress.next_task_to_end() is None
        progress.write(task, b"\0" * 300)

    expected = bytes(100) + DATA[100:200] + bytes(50) + DATA[250:300]
    assert path.read_bytes() == expected


def test_a_hash_goes_on_where_it_was(path: Path) -> None:
    path.write_bytes(DATA)
    with begun(path, mark=DownloadState(Ranges([(0, 5 * MEBI)]))) as first:
        thread = threading.Thread(target=first.hash_all)
        thread.start()
        while first.hashed_bytes < 5 * MEBI:
            thread.join(0.01)
        first.stop()
        thread.join()
        mark = first.state()

    with begun(path, mark=DownloadState(Ranges([(0, len(DATA))]), mark.hashed)) as second:
        assert second.hashed_bytes == 5 * MEBI
        second.hash_all()

        assert second.hexdigest() == hashlib.sha256(DATA).hexdigest()
        assert (second.state().hashed or mark.hashed) is not None


def test_the_mark_of_a_whole_file_is_of_a_whole_block(path: Path) -> None:
    path.write_bytes(DATA)
    with begun(path, mark=DownloadState(Ranges([(0, len(DATA))]))) as progress:
        progress.hash_all()
        kept = progress.state().hashed

    assert kept is not None
    with begun(path, mark=DownloadState(Ranges([(0, len(DATA))]), kept)) as again:
        assert again.hashed_bytes == kept.length == 8 * MEBI


def test_a_state_that_is_none_is_hashed_anew(path: Path) -> None:
    place = HashCheckpoint(length=65, state="zz", num_checked=0, crc32=0)

    with begun(path, mark=DownloadState(Ranges([(0, 100)]), place)) as progress:
        assert progress.hashed_bytes == 0
        assert progress.state().hashed is None


def test_who_waits_is_let_go(path: Path) -> None:
    with begun(path, size=MEBI) as progress:
        assert progress.next_task() is not None
        waiting = [
            threading.Thread(target=work) for work in (progress.next_task, progress.hash_all)
        ]
        for thread in waiting:
            thread.start()

        progress.stop()

        for thread in waiting:
            thread.join(HANG_S)
            assert not thread.is_alive()
        assert progress.next_task() is None


def test_nothing_is_written_after_the_end(path: Path) -> None:
    with begun(path, size=MEBI) as progress:
        task = progress.next_task()
        assert task is not None
        progress.stop()

        assert not progress.write(task, b"late")

    assert path.read_bytes() == b""


def test_the_end_waits_for_a_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun_writing, go_on, real = threading.Event(), threading.Event(), write_at

    def slow(descriptor: int, view: memoryview, position: int) -> int:
        begun_writing.set()
        go_on.wait()
        return real(descriptor, view, position)

    monkeypatch.setattr(progress_module, "write_at", slow)
    with begun(path, size=MEBI) as progress:
        task = progress.next_task()
        assert task is not None
        writer = threading.Thread(target=progress.write, args=(task, b"late"))
        stopper = threading.Thread(target=progress.stop)
        writer.start()
        begun_writing.wait()
        stopper.start()
        stopper.join(0.1)
        assert stopper.is_alive()

        go_on.set()

        stopper.join(HANG_S)
        assert not stopper.is_alive()
        writer.join(HANG_S)


def test_a_write_that_fails_is_not_claimed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress_module, "write_at", full)
    with begun(path, size=MEBI) as progress:
        task = progress.next_task()
        assert task is not None

        with pytest.raises(OSError, match="No space"):
            progress.write(task, b"abc")

        assert (task.position, progress.done_bytes) == (0, 0)


def test_a_file_that_somebody_cuts_short_does_not_hang_the_hasher(path: Path) -> None:
    mark = DownloadState(Ranges([(0, MEBI)]))

    with begun(path, size=MEBI, mark=mark) as progress, pytest.raises(OSError, match="truncated"):
        progress.hash_all()


def test_an_empty_file_is_complete(path: Path) -> None:
    with begun(path, size=0) as progress:
        assert progress.is_complete
        assert progress.next_task() is progress.next_task_to_end() is None
        assert progress.hexdigest() == hashlib.sha256(b"").hexdigest()
