"""Files come into the store side by side, and a pull that was killed goes on."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError
from localrun.registry.http import Http
from localrun.registry.remote import FileSource, RemoteFile
from localrun.registry.transfer.journal import Journal
from localrun.registry.transfer.options import DownloadOptions
from localrun.services.progress import SilentReport
from localrun.services.pulling.fetch import SMALL_BYTES, FetchedBlob, fetch_all
from localrun.services.pulling.plan import PlannedFile
from localrun.store.manifest import Role
from localrun.store.store import Store
from tests.fakes.faults import Fault
from tests.fakes.hub import FakeHub, fake_hub
from tests.gguf.builder import STRING, header, pair
from tests.program import PROGRAM
from tests.signals import SIGKILL
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
RANDOM = random.Random(5)  # noqa: S311
SMALL = [RANDOM.randbytes(20_000) for _ in range(6)]
MODEL = header([pair("general.architecture", STRING, "llama")]) + RANDOM.randbytes(6 << 20)
DIGEST = hashlib.sha256(MODEL).hexdigest()
RATE = "2M"


class Told(SilentReport):
    """Keeps what was told, and counts the threads that tell at once."""

    def __init__(self) -> None:
        self.advances: list[tuple[str, bool]] = []
        self.num_telling = 0
        self.most_telling = 0

    def advance(self, name: str, done: int, total: int | None) -> None:
        self.num_telling += 1
        self.most_telling = max(self.most_telling, self.num_telling)
        time.sleep(0.001)  # noqa: TID251 - for others to come in between
        self.advances.append((name, done == total))
        self.num_telling -= 1


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub


def small_files(hub: FakeHub) -> list[PlannedFile]:
    return [planned(hub, f"f{number}", data) for number, data in enumerate(SMALL)]


def planned(hub: FakeHub, name: str, data: bytes) -> PlannedFile:
    remote = FileSource(url=hub.url + hub.add_file(name, data), name="the hub")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    file = RemoteFile(name=name, size_bytes=len(data), digest=digest, sources=(remote,))
    return PlannedFile(file=file, role=Role.WEIGHTS)


def fetch_them(files: list[PlannedFile], folder: Path, report: SilentReport) -> list[FetchedBlob]:
    store, http = Store(folder / "models"), Http({}, stall_timeout_s=10 * HANG_S)
    with store.lease() as lease:
        return fetch_all(store, http, files, lease, DownloadOptions(first_wait_s=0.01), report)


def test_small_files_come_side_by_side_and_are_told_in_turn(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault.drip(60_000, count=100))
    told = Told()

    fetched = fetch_them(small_files(hub), tmp_path, told)

    assert [one.path.read_bytes() for one in fetched] == SMALL
    first_end = [is_complete for _, is_complete in told.advances].index(True)
    assert len({name for name, _ in told.advances[:first_end]}) > 1
    assert told.most_telling == 1


def test_files_of_any_size_keep_their_order(hub: FakeHub, tmp_path: Path) -> None:
    large = RANDOM.randbytes(SMALL_BYTES + 1)
    contents = [SMALL[0], large, SMALL[1], SMALL[0]]
    files = [planned(hub, f"f{number}", data) for number, data in enumerate(contents)]

    fetched = fetch_them(files, tmp_path, SilentReport())

    assert [one.path.read_bytes() for one in fetched] == contents
    assert [one.fetched_bytes for one in fetched] == [*map(len, contents[:3]), 0]


def test_one_that_fails_does_not_wait_for_others_that_stall(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults += [Fault.status(404, path="f0"), Fault.stall(100, count=100)]

    with pytest.raises(NetworkError, match="404"):
        fetch_them(small_files(hub), tmp_path, SilentReport())


def test_ctrl_c_ends_all_of_them(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault.stall(100, count=100))

    def press() -> None:
        wait_until(lambda: hub.file_requests)
        os.kill(os.getpid(), signal.SIGINT)  # as a terminal does

    presser = threading.Thread(target=press)
    presser.start()

    with pytest.raises(KeyboardInterrupt):
        fetch_them(small_files(hub), tmp_path, SilentReport())

    presser.join()


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_after_kill_9_a_pull_fetches_only_the_rest(
    hub: FakeHub, tmp_path: Path, share: float
) -> None:
    hub.add("owner/repo", {"model-Q8_0.gguf": MODEL})
    store = tmp_path / "store"
    command = [*PROGRAM, "pull", "hf.co/owner/repo:Q8_0"]
    environ = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path),
        "LOCALRUN_MODELS": str(store),
        "PYTHONPATH": str(ROOT),
    }
    journal = Journal(store / "partial" / DIGEST)
    with subprocess.Popen([*command, "--limit-rate", RATE], env=environ) as process:
        wait_until(lambda: process.poll() is not None or known_bytes(journal) >= share * len(MODEL))
        process.kill()
    assert process.returncode == -SIGKILL
    known = known_bytes(journal)
    blob = store / "blobs" / "sha256" / DIGEST
    assert not blob.exists()
    hub.requests.clear()

    subprocess.run(command, env=environ, check=True, timeout=HANG_S)

    assert blob.read_bytes() == MODEL
    assert not journal.folder.exists()
    asked = [request.range for request in hub.file_requests]
    assert sum(last + 1 - first for first, last in filter(None, asked) if last) == (
        len(MODEL) - known
    )


def known_bytes(journal: Journal) -> int:
    loaded = journal.load()
    return 0 if loaded is None else loaded[1].ranges.total
