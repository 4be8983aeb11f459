"""The printed application on Ray Serve: kills under load lose no request.

Runs where LOCALRUN_TEST_RAY names a Python with ray[serve] (heavy: 1.6 GB and a minute):

    python -m venv ray && ray/bin/pip install "ray[serve]"
    LOCALRUN_TEST_RAY=ray/bin/python scripts/test tests/deploy/test_ray_serve.py
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.e2e.conftest import make_home
from tests.program import PROGRAM
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = os.environ.get("LOCALRUN_TEST_RAY", "")
NUM_REQUESTS, AT_ONCE = 200, 8
QUESTION = {"model": "guide", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="LOCALRUN_TEST_RAY names a Python with ray[serve]"),
    pytest.mark.skipif(sys.platform != "linux", reason="kills by process groups"),
    pytest.mark.timeout(600),
]


class Cluster:
    """A head of Ray with the printed application."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self._process = process

    def ask(self, number: int = 0) -> int:
        messages = [{"role": "user", "content": f"hi {number}"}]
        try:
            answer = httpx.post(
                f"{self.url}/v1/chat/completions",
                json={**QUESTION, "messages": messages},
                timeout=120,
            )
        except httpx.HTTPError:
            return 0
        return answer.status_code

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the processes of the cluster whose command lines have all the words."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                found.append(process)
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    home = make_home(folder)
    program = program_in(folder)
    printed = home.run("deploy", "ray", "guide", "--parallel", "4", "-o", str(folder / "app"))
    assert printed.returncode == 0, printed.stderr
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "app" / "serve.yaml"
    config.write_text(config.read_text().replace("port: 8000", f"port: {port}"))
    tools = str(Path(PYTHON).absolute().parent)
    environ = home.environ | {
        "PATH": f"{program.parent}:{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environ.pop("LOCALRUN_HOST")
    with (folder / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            [f"{tools}/serve", "run", "--working-dir", ".", "serve.yaml"],
            cwd=folder / "app",
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    found = Cluster(f"http://127.0.0.1:{port}", process)
    try:
        wait_until(lambda: found.ask() == 200 and len(servers(found)) == 2, "two replicas")
        yield found
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        _, alive = psutil.wait_procs(children, timeout=30)
        for left in alive:
            left.kill()
        psutil.wait_procs(alive, timeout=30)


def program_in(folder: Path) -> Path:
    """Return a program ``localrun`` in a folder of its own."""
    program = folder / "bin" / "localrun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return program


def servers(cluster: Cluster) -> list[psutil.Process]:
    return cluster.processes("serve", "--load", "guide")


def test_the_apis_pass_through_with_streams(cluster: Cluster) -> None:
    body = {**QUESTION, "stream": True}

    with httpx.stream(
        "POST", f"{cluster.url}/v1/chat/completions", json=body, timeout=60
    ) as answer:
        text = "".join(answer.iter_text())
    tags = httpx.get(f"{cluster.url}/api/tags", timeout=60).json()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert text.endswith("data: [DONE]\n\n")
    assert tags["models"][0]["name"] == "guide:latest"
    assert httpx.get(f"{cluster.url}/nowhere", timeout=60).status_code == 404


@pytest.mark.parametrize("victim", ["server", "replica"])
def test_a_kill_under_load_loses_nothing(cluster: Cluster, victim: str) -> None:
    wait_until(lambda: len(servers(cluster)) == 2, "two replicas")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = [threads.submit(cluster.ask, number) for number in range(NUM_REQUESTS)]
        wait_until(lambda: sum(answer.done() for answer in answers) > 20)
        server = servers(cluster)[0]
        killed = server if victim == "server" else server.parent()
        assert killed is not None
        killed.kill()
        statuses = [answer.result() for answer in answers]

    assert statuses == [200] * NUM_REQUESTS
    wait_until(lambda: len(servers(cluster)) == 2, "two replicas again")


def test_a_machine_that_goes_loses_what_it_was_answering_and_no_more(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    words = ("--parallel", "4", "--per-machine", "1", "-o", str(tmp_path / "app"))
    assert home.run("deploy", "ray", "guide", *words).returncode == 0
    config = tmp_path / "app" / "serve.yaml"
    program = program_in(tmp_path)
    config.write_text(config.read_text().replace("command: localrun", f"command: {program}"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = home.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environ.pop("LOCALRUN_HOST")

    nodes = Path(__file__).with_name("ray_two_nodes.py")
    done = subprocess.run(
        [PYTHON, str(nodes), str(tmp_path / "app"), str(port)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path / "app",  # where Ray's workers find the application
        env=environ,
        timeout=400,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    assert result["nodes"] == 2
    assert result["lost"] <= NUM_REQUESTS // 20
    assert result["lost_after"] == 0
