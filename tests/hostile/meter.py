"""What a request costs its server, and for how long others are not answered meanwhile.

Processor time is measured, not wall-clock time, so a busy machine changes nothing: of the
server and its runners together for the cost, of the server alone for the stall: the most
that it computed while one ``GET /healthz`` was waiting.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil

from tests import measuring

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_CLOCK = 2  # of a process: CPUCLOCK_SCHED in Linux' posix-timers.h
POLL_S = 0.01
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Cost:
    """What one request came to; times in seconds of a processor."""

    status: int  # 0: no answer
    work_s: float
    stall_s: float
    delay_s: float  # of a poll, on the wall's clock: for the table only
    text: str = ""


def processor_s(pid: int) -> float:
    """Return the processor time of a process; 0 once it has ended."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime((~pid << 3) | CPU_CLOCK)
    else:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            return times.user + times.system
    return 0.0


def plain_work_s() -> float:
    """Return the processor time of a fixed loop: how fast this machine is now."""
    return min(measuring.processor_s(_plain_work) for _ in range(3))


class Meter:
    """Sends requests to one server and measures them, one at a time."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._server = psutil.Process(pid)
        self._client = httpx.Client(base_url=url, timeout=PATIENCE_S)
        self._poller = httpx.Client(base_url=url, timeout=PATIENCE_S)
        self.unit_s = plain_work_s()
        self._loaded: list[int] = []
        self._chat = ""  # a kept chat, for the paths that need one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._poller.close()

    @property
    def runners(self) -> list[int]:
        """Return the processes of loaded models, and of jobs."""
        with contextlib.suppress(psutil.Error):
            return sorted(child.pid for child in self._server.children(recursive=True))
        return []

    def warm_up(self) -> None:
        """Load the model, and have each endpoint import what it needs."""
        body = {"model": "guide", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        self._client.post("/v1/chat/completions", json=body).raise_for_status()
        embedded = self._client.post("/v1/embeddings", json={"model": "guide", "input": "hi"})
        embedded.raise_for_status()
        self._loaded = self.runners
        self._chat = self._client.post("/api/localrun/chats", json={"model": "guide"}).json()["id"]

    @property
    def has_lost_runner(self) -> bool:
        """Return whether the process that loaded the model has ended."""
        return not set(self._loaded) <= set(self.runners)

    def document(self) -> Any:
        return self._client.get("/openapi.json").json()

    def cost(self, method: str, path: str, content: bytes) -> Cost:
        """Send a body of JSON and measure it."""
        before = {pid: processor_s(pid) for pid in (self._server.pid, *self.runners)}
        with self._polling() as stalls:
            status, text = self._answer(method, path, content)
        after = {pid: processor_s(pid) for pid in (self._server.pid, *self.runners)}
        work = sum(now - before.get(pid, 0.0) for pid, now in after.items())
        return Cost(
            status=status,
            work_s=work,
            stall_s=max((stall for stall, _ in stalls), default=0.0),
            delay_s=max((delay for _, delay in stalls), default=0.0),
            text=text,
        )

    def _answer(self, method: str, path: str, content: bytes) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"}
        path = path.replace("{chat}", self._chat)
        try:
            response = self._client.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            return 0, repr(error)
        return response.status_code, response.text[:500]

    @contextlib.contextmanager
    def _polling(self) -> Iterator[list[tuple[float, float]]]:
        """Ask for ``/healthz`` again and again while the block runs."""
        stalls: list[tuple[float, float]] = []
        is_over = threading.Event()
        thread = threading.Thread(target=self._poll, args=(stalls, is_over))
        thread.start()
        try:
            yield stalls
        finally:
            is_over.set()
            thread.join()

    def _ask(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            self._poller.get("/healthz")

    def _poll(self, stalls: list[tuple[float, float]], is_over: threading.Event) -> None:
        while True:
            begun = processor_s(self._server.pid)
            delay_s = measuring.wall_s(self._ask)
            stalls.append((processor_s(self._server.pid) - begun, delay_s))
            if is_over.wait(POLL_S):
                return


def _plain_work() -> None:
    total = 0
    for number in range(500_000):
        total += number & 7
