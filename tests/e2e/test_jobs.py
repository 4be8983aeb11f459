"""A server that goes away takes what it pulls along, and the bytes stay for the next pull."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.e2e.conftest import make_home, wait_for
from tests.fakes.faults import Fault
from tests.fakes.hub import fake_hub
from tests.program import PROGRAM
from tests.registry.conftest import keep_apart
from tests.services.making import gguf
from tests.signals import SIGKILL
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "hf.co/owner/large-GGUF"


@pytest.mark.parametrize("number", [SIGKILL, signal.SIGTERM])
def test_no_job_outlives_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    keep_apart(monkeypatch, tmp_path)
    home = make_home(tmp_path)
    with fake_hub() as hub:
        hub.add("owner/large-GGUF", {"model-Q4_K_M.gguf": gguf(1, 3_000_000)})
        hub.faults.append(Fault.stall(300_000, path="model-Q4_K_M.gguf", count=9))
        home.environ.update(HF_ENDPOINT=hub.url, MODELSCOPE_ENDPOINT=hub.url, LOCALRUN_DRAIN="1s")
        server = subprocess.Popen([*PROGRAM, "serve"], env=home.environ, stderr=subprocess.DEVNULL)
        wait_for(lambda: home.run("version", "--json").stdout.count("null") == 0)
        seen: list[int] = []
        puller = threading.Thread(target=pull, args=(home.url, seen))
        puller.start()
        wait_for(lambda: seen and seen[-1] > 200_000)
        (job,) = [
            one
            for one in psutil.Process(server.pid).children(recursive=True)
            if "job" in one.cmdline()
        ]

        server.send_signal(number)
        server.wait(HANG_S)
        puller.join(HANG_S)

        wait_for(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE)
        hub.faults.clear()
        before = len(hub.file_requests)
        assert home.run("pull", MODEL).returncode == 0
        assert "bytes=0-" not in {
            str(request.headers.get("Range")) for request in hub.file_requests[before:]
        }


def pull(url: str, seen: list[int]) -> None:
    """Note how far a pull is until its connection breaks."""
    try:
        with httpx.stream("POST", f"{url}/api/pull", json={"model": MODEL}) as told:
            for line in told.iter_lines():
                seen.append(json.loads(line).get("completed", 0))  # noqa: PERF401 - read meanwhile
    except httpx.HTTPError:
        seen.append(-1)
