"""A server under random loads, kills, cancels and restarts, and what became of every request.

    scripts/chaos --seconds 600

Four models (copies of guide, each with bytes of its own) share memory for two. Clients ask
and leave; runners are killed; the server is killed and told to leave, and started again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from localrun.store.store import embedded_models
from tests.e2e.conftest import Home, make_home, wait_for
from tests.program import PROGRAM
from tests.signals import SIGKILL
from tests.unix_calls import num_open_files
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUM_MODELS, NUM_CLIENTS = 4, 6
RESERVE = 256 * 1024 * 1024  # that the plan leaves to others
LITTLE = 60_000_000
PATIENCE_S = HANG_S
OURS = ("answer", "error", "left", "no server")


@dataclass
class Figures:
    """What happened."""

    ends: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)  # until the first frame of an answer
    waits_by_model: dict[str, list[float]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    num_kills: int = 0
    num_restarts: int = 0
    most_loaded: int = 0
    orphans: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return it all as lines."""
        waits = sorted(self.waits_s) or [0.0]
        by_model = {name: f"{max(it):.1f}" for name, it in sorted(self.waits_by_model.items())}
        return "\n".join(
            [
                f"requests          {sum(self.ends.values())}: {dict(self.ends)}",
                f"errors            {dict(self.errors)}",
                f"kills of runners  {self.num_kills}, restarts of the server {self.num_restarts}",
                f"models at once    at most {self.most_loaded}",
                f"first frame after {statistics.median(waits):.2f} s in the middle",
                f"      95 % within {waits[int(0.95 * (len(waits) - 1))]:.2f} s",
                f"          at most {waits[-1]:.2f} s",
                f"longest by model  {by_model}",
                f"ends missing, double or strange: {self.strange or 'none'}",
                f"orphans           {self.orphans or 'none'}",
                f"leaks             {self.leaks or 'none'}",
            ]
        )


class Chaos:
    """One run."""

    def __init__(self, home: Home, models: list[str], seed: int) -> None:
        self.figures = Figures()
        self._home = home
        self._models = models
        self._random = random.Random(seed)  # noqa: S311 - no secrets
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._is_down = threading.Event()  # a restart is under way
        self._seed = seed
        self._log = Path(home.environ["HOME"], "server.log")
        self._server = self._start()

    def run(self, is_enough: Callable[[Figures], bool]) -> Figures:
        """Let it happen until enough has, and look what is left behind."""
        threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(NUM_CLIENTS)
        ]
        for thread in threads:
            thread.start()
        self._disturb(is_enough)
        self._is_over.set()
        for thread in threads:
            thread.join()
        self._look_for_leaks()
        self._stop(signal.SIGTERM)
        wait_for(lambda: not self._processes())
        self.figures.orphans = [str(process) for process in self._processes()]
        return self.figures

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            server = subprocess.Popen(
                [*PROGRAM, "serve"],
                env=self._home.environ,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers)
        return server

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self._home.url}/healthz", timeout=5).status_code == 200
        return False

    def _stop(self, number: signal.Signals) -> None:
        self._server.send_signal(number)
        self._server.wait(HANG_S)

    def _disturb(self, is_enough: Callable[[Figures], bool]) -> None:
        """Kill and restart, as often as requests end: a slow machine gets something done, too."""
        next_restart = 15
        while not is_enough(self.figures):
            wanted = self._num_ends() + self._random.randint(1, 8)
            wait_for(functools.partial(self._has_ended, wanted))
            if self._num_ends() >= next_restart:
                self._restart()
                next_restart = self._num_ends() + self._random.randint(20, 50)
            elif self._random.random() < 0.3:
                self._kill_runner()

    def _has_ended(self, count: int) -> bool:
        """Return whether so many requests have ended; look at the models meanwhile."""
        self._note_loaded()
        return self._num_ends() >= count

    def _num_ends(self) -> int:
        """Return how many requests a server has ended."""
        with self._lock:
            return sum(count for end, count in self.figures.ends.items() if end != "no server")

    def _restart(self) -> None:
        self._is_down.set()
        self._stop(self._random.choice([signal.SIGTERM, SIGKILL]))
        wait_for(lambda: not self._processes())  # also runners of a server that was killed
        self._server = self._start()
        self._is_down.clear()
        self.figures.num_restarts += 1

    def _kill_runner(self) -> None:
        """Kill a runner, or the process that forks runners."""
        children = [process for process in self._processes() if process.pid != self._server.pid]
        if children:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._random.choice(children).kill()
                self.figures.num_kills += 1

    def _runners(self) -> list[psutil.Process]:
        return [process for process in self._processes() if "runner" in process.info["cmdline"]]

    def _processes(self) -> list[psutil.Process]:
        """Return the server, its warm process and its runners."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if process.info["status"] == psutil.STATUS_ZOMBIE or "localrun" not in words:
                continue
            with contextlib.suppress(psutil.Error):
                if process.environ().get("LOCALRUN_HOST") == self._home.address:
                    found.append(process)
        return found

    def _note_loaded(self) -> None:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            rows = httpx.get(f"{self._home.url}/api/localrun/ps").json()["models"]
            num_loaded = sum(row["state"] not in {"starting", "failed"} for row in rows)
            self.figures.most_loaded = max(self.figures.most_loaded, num_loaded)

    def _ask_on(self, number: int) -> None:
        chance = random.Random(self._seed + number)  # noqa: S311 - no secrets
        with httpx.Client(timeout=PATIENCE_S) as client:
            while not self._is_over.is_set():
                model = chance.choice(self._models)
                end = self._ask(client, model, chance, f"client-{number}")
                with self._lock:
                    self.figures.ends[end] += 1
                if end == "no server":
                    time.sleep(0.2)
                elif end == "error":
                    time.sleep(0.5)  # a client that is told to come later
                else:
                    time.sleep(chance.uniform(0, 0.1))

    def _ask(self, client: httpx.Client, model: str, chance: random.Random, key: str) -> str:
        """Return how one request ended."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"Tell me about {chance.random()}."}],
            "options": {"num_predict": chance.randint(1, 40)},
        }
        was_down, begun = self._is_down.is_set(), time.monotonic()
        leaves_after = chance.choice([None, None, None, 0, 3])
        try:
            with client.stream(
                "POST",
                f"{self._home.url}/api/chat",
                json=body,
                headers={"Authorization": f"Bearer {key}"},
            ) as response:
                if "x-request-id" not in response.headers:  # another program took the port
                    return "no server"
                return self._read(model, response, begun, leaves_after)
        except httpx.TimeoutException:
            return self._strange(f"no end within {PATIENCE_S} s of {model}")
        except httpx.HTTPError as error:
            is_excused = was_down or self._is_down.is_set()
            return "no server" if is_excused else self._strange(f"{type(error).__name__}: {error}")

    def _read(
        self, model: str, response: httpx.Response, begun: float, leaves_after: int | None
    ) -> str:
        """Read the frames of an answer, or some of them; return how it ended."""
        ends = []
        for number, line in enumerate(response.iter_lines()):
            frame: dict[str, Any] = json.loads(line)
            if number == 0 and "error" not in frame:
                self._note_wait(model, time.monotonic() - begun)
            if leaves_after is not None and number >= leaves_after:
                return "left"
            if "error" in frame or frame.get("done"):
                ends.append(frame)
        if len(ends) != 1:
            head = f"{response.status_code} {dict(response.headers)}"
            return self._strange(f"{len(ends)} ends of one answer: {head}")
        if "error" not in ends[0]:
            return "answer"
        with self._lock:
            self.figures.errors[ends[0]["code"]] += 1
        return "error"

    def _note_wait(self, model: str, seconds: float) -> None:
        with self._lock:
            self.figures.waits_s.append(seconds)
            self.figures.waits_by_model.setdefault(Path(model).stem, []).append(seconds)

    def _strange(self, what: str) -> str:
        with self._lock:
            self.figures.strange.append(what)
        return "strange"

    def _look_for_leaks(self) -> None:
        """Look at a server that has nothing to do any more, and at what it had at first."""
        for row in httpx.get(f"{self._home.url}/api/ps").json()["models"]:
            httpx.post(
                f"{self._home.url}/api/generate", json={"model": row["name"], "keep_alive": 0}
            )
        wait_for(lambda: not self._runners())
        states = httpx.get(f"{self._home.url}/api/localrun/ps").json()
        server = psutil.Process(self._server.pid)
        time.sleep(1)
        sockets = [it for it in server.net_connections("all") if it.status != psutil.CONN_LISTEN]
        open_ones = [it for it in sockets if it.status == psutil.CONN_ESTABLISHED]
        counts = {
            "waiting requests": (states["waiting"], 0),
            "sockets": (len(open_ones), 1),
            "open files": (num_open_files(server), 40),
            "threads": (server.num_threads(), 130),
            "memory MB": (server.memory_info().rss // 1_000_000, 250),
        }
        self.figures.leaks = [
            f"{name}: {count}" for name, (count, most) in counts.items() if count > most
        ]


@contextlib.contextmanager
def chaos(folder: Path, seed: int) -> Iterator[Chaos]:
    """Set the scene: four models, and memory for two of them."""
    source = embedded_models()["guide:latest"]
    models = []
    for number in range(NUM_MODELS):
        path = folder / f"model{number}.gguf"
        shutil.copyfile(source, path)
        with path.open("ab") as file:
            file.write(bytes([number]) * 64)  # other bytes, another digest: nothing is shared
        models.append(str(path))
    home = make_home(folder)
    home.environ["LOCALRUN_MEMORY"] = str(RESERVE + LITTLE)
    told = json.loads(home.run("plan", models[0], "--json").stdout)
    home.environ["LOCALRUN_MEMORY"] = str(RESERVE + int(2.5 * told["total_bytes"]))
    home.environ["LOCALRUN_DRAIN"] = "2s"
    home.environ["LOCALRUN_PROMPT_CACHE"] = "0"
    running = Chaos(home, models, seed)
    try:
        yield running
    finally:
        for process in running._processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def main() -> int:
    """Run it and print the figures; 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    asked = parser.parse_args()
    sys.stdout.write(f"seed {asked.seed}\n")
    end = time.monotonic() + asked.seconds
    with tempfile.TemporaryDirectory() as folder, chaos(Path(folder), asked.seed) as running:
        found = running.run(lambda _: time.monotonic() > end)
    sys.stdout.write(found.table() + "\n")
    return 1 if found.strange or found.orphans or found.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
