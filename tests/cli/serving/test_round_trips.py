"""Requests of each command to a server with a Unix socket, and what the command imports for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.fake_server import local_fake_server
from tests.cli.inside import run_inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.fake_server import FakeServer

MODEL = {
    "name": "guide:latest", "digest": "sha256:ab", "state": "ready", "progress": 1, "size_bytes": 1,
    "size_gpu_bytes": 0, "memory": {}, "shared_with": None, "context": 8, "context_note": "",
    "context_used": 0, "context_total": 0, "parallel": 1, "running": 0, "waiting": 0,
    "tokens_per_s": 0, "pinned": False, "until": None, "stays_for_ever": True, "reason": None,
    "retry_after_s": None,
}  # fmt: skip
STATES, LIBRARIES = "/api/localrun/ps", {"http.client", "ssl", "urllib.request", "urllib3"}
COMMAND = """
import sys
from localrun.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
print("\\n".join(sys.modules))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with local_fake_server() as running:
        running.script.running = [MODEL]
        running.script.why = {"name": "guide", "context": 8, "memory": {}, "threads": 1,
                              "settings": [], "plan": None}  # fmt: skip
        monkeypatch.setenv("LOCALRUN_HOST", running.address)
        yield running


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["run", "guide", "hi"], ["/api/chat"]),
        (["ps"], [STATES]),
        (["why", "guide", "--json"], ["/api/localrun/why?model=guide"]),
        (["load", "guide"], ["/api/localrun/load"]),
        (["stop", "guide"], [STATES, "/api/generate"]),
    ],
)
def test_a_command_asks_only_what_it_needs(
    server: FakeServer, words: list[str], paths: list[str]
) -> None:
    done = run_inside(*words)

    assert done.code == 0, done.stderr
    assert server.script.paths == paths


def test_another_version_is_reported_before_the_answer(server: FakeServer) -> None:
    server.script.sent_headers["X-Localrun-Version"] = "0.0.1"

    done = run_inside("run", "guide", "hi")

    assert done.stdout == "Hello.\n"
    assert done.stderr.startswith("warning: the running server is version 0.0.1\n")


def test_a_prompt_goes_to_the_next_server_if_this_one_is_shutting_down(server: FakeServer) -> None:
    server.script.num_hang_ups = 1

    done = run_inside("run", "guide", "hi")

    assert (done.code, done.stdout) == (0, "Hello.\n")
    assert server.script.paths == ["/api/chat"] * 2


def test_a_server_that_always_hangs_up_is_an_error(server: FakeServer) -> None:
    server.script.num_hang_ups = 9

    done = run_inside("run", "guide", "hi")

    assert (done.code, done.stdout) == (5, "")
    assert "no localrun server answers" in done.stderr
    assert server.script.paths == ["/api/chat"] * 2


@pytest.mark.parametrize("words", [["run", "guide", "hi"], ["ps"], ["stop", "--all"]])
def test_a_command_imports_no_http_library(
    server: FakeServer, words: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=os.environ | server.environment(tmp_path),
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    modules = set(done.stdout.split())

    assert "localrun.client.http" in modules
    assert LIBRARIES.isdisjoint(modules)
