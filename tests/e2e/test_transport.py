"""The whole program as on Windows: over TCP, without Unix sockets and without a warm process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.e2e.conftest import Home, make_home, server_of
from tests.signals import SIGKILL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDLESS = {"type": "array", "minItems": 9000, "items": {"type": "integer"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home with a server that has loaded guide."""
    found = make_home(tmp_path_factory.mktemp("home"))
    found.environ.update(
        LOCALRUN_TRANSPORT="tcp", XDG_RUNTIME_DIR=str(tmp_path_factory.mktemp("r"))
    )
    first = found.run("run", "guide", "What is 2 + 3?", "--temperature", "0")
    assert (first.returncode, first.stderr) == (0, "")
    yield found
    found.run("stop", "--server")


def runner_of(server: psutil.Process) -> psutil.Process:
    (runner,) = [each for each in server.children() if "runner" in each.cmdline()]
    return runner


def test_the_processes_have_no_sockets_but_those_of_tcp(home: Home) -> None:
    server = server_of(home)
    runner = runner_of(server)

    between = {each.raddr for each in runner.net_connections("inet")}

    assert list(Path(home.environ["XDG_RUNTIME_DIR"]).iterdir()) == []
    assert len(between) == 1
    assert between <= {each.laddr for each in server.net_connections("inet")}
    assert not any(each.status == "LISTEN" for each in runner.net_connections("inet"))
    ports = [each.laddr.port for each in server.net_connections("inet") if each.status == "LISTEN"]
    assert ports == [int(home.address.rpartition(":")[2])]


def test_the_secrets_of_a_runner_are_in_no_command_line_and_no_environment(home: Home) -> None:
    runner = runner_of(server_of(home))

    assert "--fd" not in runner.cmdline()
    assert runner.cmdline()[-3:-1] == ["runner", "--device"]
    assert not [name for name in runner.environ() if "TOKEN" in name or "SECRET" in name]


def test_a_killed_runner_is_replaced(home: Home) -> None:
    body = {"model": "guide", "prompt": "Count.", "format": ENDLESS}
    runner = runner_of(server_of(home))
    with httpx.stream("POST", f"{home.url}/api/generate", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        runner.send_signal(SIGKILL)
        last = json.loads(list(lines)[-1])

    again = home.run("run", "guide", "What is 7 + 5?", "--temperature", "0")

    assert last["code"] == "runner_died"
    assert (again.returncode, again.stdout.count("12")) == (0, 1)


def test_a_runner_does_not_outlive_its_server(home: Home) -> None:
    server = server_of(home)
    runner = runner_of(server)

    server.kill()

    wait_until(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE)
    assert home.run("run", "guide", "hi").returncode == 0  # by the next server


def test_stop_waits_for_the_process_of_the_server(home: Home) -> None:
    server = server_of(home)

    stopped = home.run("stop", "--server")

    assert stopped.returncode == 0
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
