from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.system.processes import shutdown_signals
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


class LiveServer:
    """A server process and where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        self.process = process
        self.url = found.group()

    def leave(self) -> tuple[int, str]:
        """Return the exit code and the rest of the log."""
        _, log = self.process.communicate(timeout=HANG_S)
        return self.process.returncode, log


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.server_program", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield LiveServer(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_in_order(live: LiveServer, number: int) -> None:
    ask(live, "say hi")

    live.process.send_signal(number)
    code, log = live.leave()

    assert code == 0
    assert "run: exited\n" in log  # a runner may be told of a little later
    assert "Traceback" not in log


def test_an_answer_that_does_not_end_gets_an_error_when_the_server_leaves(live: LiveServer) -> None:
    body = {"model": "guide", "prompt": "hang", "raw": True}
    with httpx.stream("POST", f"{live.url}/api/generate", json=body) as response:
        lines = response.iter_lines()
        first = json.loads(next(lines))
        live.process.terminate()
        last = json.loads(list(lines)[-1])

    code, log = live.leave()

    assert first["response"] == "..."
    assert last["code"] == "runner_died"
    assert code == 0
    assert "run: exited\n" in log  # a runner may be told of a little later


def test_shutdown_is_only_for_our_own_commands(live: LiveServer) -> None:
    url, own = f"{live.url}/api/localrun/shutdown", {"X-Localrun": "1"}

    from_a_page = httpx.post(url, headers={**own, "Origin": "http://localhost:3000"})
    from_us = httpx.post(url, headers=own)
    code, _ = live.leave()

    assert (from_a_page.status_code, from_us.status_code, code) == (403, 200, 0)


def ask(live: LiveServer, prompt: str) -> None:
    body = {"model": "guide", "prompt": prompt, "raw": True, "stream": False}
    assert httpx.post(f"{live.url}/api/generate", json=body).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of Unix")
def test_the_end_of_the_terminal_is_a_signal_like_others(live: LiveServer) -> None:
    ask(live, "say hi")

    live.process.send_signal(shutdown_signals()[-1])
    code, log = live.leave()

    assert code == 0
    assert "run: exited\n" in log  # a runner may be told of a little later


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.server_program", str(tmp_path), "60"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    live = LiveServer(process)
    body = {"model": "guide", "prompt": "hang", "raw": True}
    with httpx.stream("POST", f"{live.url}/api/generate", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        process.terminate()
        wait_for_line(process, "shutting down")
        process.terminate()
        last = json.loads(list(lines)[-1])
    code, _ = live.leave()

    assert "the server is leaving" in last["error"]
    assert code == 0


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    while text not in process.stderr.readline():
        pass
