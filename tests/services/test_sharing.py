"""Two processes that pull the same model share one download, and outlive each other."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.fakes.hub import FakeHub, Fault
from tests.program import PROGRAM
from tests.services.making import NAME, REPO, blob_of, entry_of, gguf
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.services.workspace import Workspace

BIG = gguf(5, 8_000_000)


class Pull(NamedTuple):
    """A `localrun pull` that runs."""

    process: subprocess.Popen[str]

    def end(self) -> str:
        """Return what it told until its end."""
        _, told = self.process.communicate(timeout=HANG_S)
        return told


@pytest.fixture
def start(workspace: Workspace, hub: FakeHub, tmp_path: Path) -> Iterator[Callable[[], Pull]]:
    hub.replace(REPO, "model-Q4_K_M.gguf", BIG)
    env = {
        **os.environ,
        **workspace.environ,
        "LOCALRUN_MODELS": str(workspace.settings.models_dir),
        "HOME": str(tmp_path / "home"),
    }
    running: list[Pull] = []

    def start() -> Pull:
        command = [*PROGRAM, "pull", NAME]
        process = subprocess.Popen(command, env=env, text=True, stderr=subprocess.PIPE)
        running.append(Pull(process))
        return running[-1]

    yield start
    for pull in running:
        with pull.process:  # closes its pipe
            pull.process.kill()


def asked_for_weights(hub: FakeHub) -> int:
    return sum("model-Q4" in request.path for request in hub.file_requests)


def wait_until_it_tells_of_waiting(pull: Pull) -> threading.Thread:
    assert pull.process.stderr is not None
    for line in pull.process.stderr:
        if "another localrun is downloading" in line:
            break
    else:
        pytest.fail("it never waited")
    reader = threading.Thread(target=pull.process.stderr.read, daemon=True)
    reader.start()  # so that it never blocks on a full pipe
    return reader


def test_the_second_waits_and_fetches_nothing_twice(
    start: Callable[[], Pull], hub: FakeHub, workspace: Workspace
) -> None:
    hub.faults.append(Fault.drip(150_000, path="model-Q4", count=99))
    first = start()
    wait_until(lambda: asked_for_weights(hub) > 0)

    second = start()
    reader = wait_until_it_tells_of_waiting(second)
    hub.faults.clear()
    first.end()
    second.process.wait(HANG_S)
    reader.join(HANG_S)

    ends = [one.process.returncode for one in (first, second)]
    assert ends == [0, 0]
    assert sum_of_ranges(hub) == len(BIG)
    assert blob_of(workspace, BIG).read_bytes() == BIG
    assert list(workspace.store.layout.partial.iterdir()) == []


def sum_of_ranges(hub: FakeHub) -> int:
    """Return the bytes of the weights that were asked for."""
    total = 0
    for request in hub.file_requests:
        if "model-Q4" in request.path:
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            total += (int(last) if last else len(BIG) - 1) - int(first) + 1
    return total


def test_when_the_one_that_downloads_is_killed_the_other_goes_on(
    start: Callable[[], Pull], hub: FakeHub, workspace: Workspace
) -> None:
    hub.faults.append(Fault.drip(150_000, path="model-Q4", count=99))
    first = start()
    wait_until(lambda: asked_for_weights(hub) > 0)
    second = start()
    reader = wait_until_it_tells_of_waiting(second)
    wait_until(lambda: any(workspace.store.layout.partial.glob("*/journal")))

    first.process.kill()
    first.end()
    hub.faults.clear()
    second.process.wait(HANG_S)
    reader.join(HANG_S)

    assert second.process.returncode == 0
    assert blob_of(workspace, BIG).read_bytes() == BIG
    assert entry_of(workspace).ref.origin == NAME
    assert list(workspace.store.layout.partial.iterdir()) == []
