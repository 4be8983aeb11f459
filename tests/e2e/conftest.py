"""The whole program on the embedded model, in a home of its own on a port of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.privacy.watching import watch_network
from tests.program import PROGRAM
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.privacy.watching import Watch


@dataclass(frozen=True)
class Home:
    """Where one run of the program lives."""

    address: str
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environ,
            timeout=HANG_S,
        )

    def start(self, *words: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
        )


@pytest.fixture(scope="package", autouse=True)
def network_watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Watch what the tests and their programs ask beyond this machine."""
    with watch_network(tmp_path_factory.mktemp("watch")) as watch:
        yield watch


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine(network_watch: Watch) -> Iterator[None]:
    """Fail if a test, or a program that it started, asks beyond this machine."""
    yield
    assert network_watch.seen() == [], "localrun help privacy"


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    wait_until(condition)


def make_home(folder: Path) -> Home:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environ = {
        **os.environ,
        "HOME": str(folder),
        "LOCALRUN_HOST": address,
        "LOCALRUN_LOG_DIR": str(folder / "log"),
        "LOCALRUN_CACHE": str(folder / "cache"),
        "LOCALRUN_IDLE_EXIT": "120",
    }
    return Home(address, environ)


def server_of(home: Home) -> psutil.Process:
    """Return the server of a home."""
    port = int(home.address.rpartition(":")[2])
    for process in psutil.process_iter():
        try:
            listening = {c.laddr.port for c in process.net_connections() if c.status == "LISTEN"}
        except psutil.Error:
            continue
        if port in listening:
            return process
    raise AssertionError(f"nobody listens on {port}")


def runner_of(home: Home) -> psutil.Process:
    runners = []
    for child in server_of(home).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # also one that has ended (ZombieProcess)
            if "runner" in child.cmdline():
                runners.append(child)
    (runner,) = runners
    return runner


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home whose background server is ended after the module's tests."""
    found = make_home(tmp_path_factory.mktemp("home"))
    yield found
    found.run("stop", "--server")


@pytest.fixture(scope="module")
def server(home: Home) -> Home:
    """Return the same with the server up and guide loaded."""
    assert home.run("run", "guide", "hi").returncode == 0
    assert httpx.get(f"{home.url}/healthz").status_code == 200
    return home
