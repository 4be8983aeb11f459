"""Kills and stops of workers under load, for as long as `scripts/test --workers=SECONDS` says.

Two recipes on weights that need two workers are asked by four clients. Each request ends in an
answer or in one error that names a worker; neither side keeps a process.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere there are no workers

import json
import os
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from localrun.services.machine.workers import has_rpc
from tests.e2e.test_workers import SIZES, far_processes, named, serving
from tests.signals import SIGKILL
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = int(os.environ.get("LOCALRUN_TEST_WORKERS", "0") or 0)
NUM_CLIENTS = 4
LONGEST_PAUSE_S, FROZEN_SHARE = 4.0, 0.2
RECIPE = "FROM guide\nSYSTEM Another one.\n"

pytestmark = [
    pytest.mark.skipif(not has_rpc(), reason="llama.cpp has no RPC backend"),
    pytest.mark.skipif(not SECONDS, reason="scripts/test --workers=300"),
    pytest.mark.timeout(SECONDS + 4 * HANG_S),
]


class Clients:
    """Clients that ask until they are told to end, and how their requests ended."""

    def __init__(self, url: str) -> None:
        self.ends: Counter[str] = Counter()
        self.strange: list[str] = []
        self.longest_s = 0.0
        self._url = url
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(NUM_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def pause(self, seconds: float) -> None:
        self._is_over.wait(seconds)

    def _ask(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - reproducible, no secret
        while not self._is_over.is_set():
            words = " ".join(f"w{chance.randrange(999)}" for _ in range(chance.randrange(200)))
            body = {
                "model": chance.choice(["guide", "other"]),
                "prompt": f"{words} Tell me all",
                "options": {"num_predict": chance.randrange(1, 300)},
            }
            self._record(self._request(body))

    def _request(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        with httpx.stream("POST", f"{self._url}/api/generate", json=body, timeout=HANG_S) as reply:
            return [json.loads(line) for line in reply.iter_lines()]

    def _record(self, lines: list[dict[str, Any]]) -> None:
        ends = [line for line in lines if line.get("done") or "error" in line]
        if len(ends) != 1:
            self.strange.append(f"{len(ends)} ends")
        elif "error" not in ends[0]:
            self.ends["answer"] += 1
        elif "worker `env WORKER_NUMBER" in ends[0]["error"]:
            self.ends["error"] += 1
        else:
            self.strange.append(ends[0]["error"])


def test_each_request_ends_once_and_nothing_is_left(tmp_path: Path) -> None:
    chance, acts = random.Random(SECONDS), Counter[str]()  # noqa: S311 - reproducible, no secret
    workers = [named(number, SIZES[2]) for number in range(2)]
    with serving(tmp_path, *workers) as home:
        assert home.run("create", "other", "-f", "-", stdin=RECIPE).returncode == 0
        home.run("load", "guide")
        clients, left_s = Clients(home.url), float(SECONDS)
        while left_s > 0:
            pause_s = chance.random() * LONGEST_PAUSE_S
            clients.pause(pause_s)
            left_s -= pause_s
            for worker in far_processes(home)[:1]:
                is_frozen = chance.random() < FROZEN_SHARE
                acts["stop" if is_frozen else "kill"] += 1
                try:
                    worker.suspend() if is_frozen else worker.send_signal(SIGKILL)
                except psutil.Error:
                    acts["too late"] += 1
        clients.end()

    print(f"{SECONDS} s: {dict(clients.ends)}, {dict(acts)}")  # noqa: T201 - pytest -s shows it
    assert clients.strange == []
    assert clients.ends["answer"] > 0
    assert acts["kill"] > 0
