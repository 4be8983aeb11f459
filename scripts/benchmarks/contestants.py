"""The two servers of `scripts/bench serve`, started with equal settings on free ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from benchmarks import peer
from benchmarks.load import Answer, ask_all, request, user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS, PEER = "localrun", "llama-server"
SLOTS = 16
START_S = 180.0
POLL_S = 0.01  # short: the resolution of `scripts/bench load`


class StartError(Exception):
    """A server did not start; the text ends with its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Settings of both servers; ``cells`` is the size of the peer's KV cache."""

    model: Path
    threads: int
    context: int
    cells: int
    projector: Path | None = None
    peer_options: tuple[str, ...] = ()


@dataclass(slots=True)
class Contestant:
    """A server that can be started and stopped."""

    name: str
    command: list[str]
    folder: Path
    port: int
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Answer:
        """Start the server and return its first answer, which loads the model."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            # Linux first shares the processor among sessions (autogroup): localrun's runner has its
            # own session, and a peer in this one would get less of a busy machine
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await()
        return self.greet()

    def greet(self) -> Answer:
        """Return the answer of a short request."""
        (answer,) = ask_all(self.port, [request(user("hello"), 4)])
        return answer

    def stop(self) -> None:
        """Stop the server."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def memory_mb(self) -> float:
        """Return the memory of the process with the model, including the mapped file."""
        if self.process is None:
            raise StartError(f"{self.name} does not run")
        main = psutil.Process(self.process.pid)
        processes = main.children(recursive=True) or [main]  # localrun's runner, or the peer itself
        return max(process.memory_info().rss for process in processes) / 1e6

    def _await(self) -> None:
        health = f"http://127.0.0.1:{self.port}/{'healthz' if self.name == OURS else 'health'}"
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process and self.process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(health, timeout=5).close()
                return
            time.sleep(POLL_S)
        log = (self.folder / f"{self.name}.log").read_text(errors="replace")
        raise StartError(f"{self.name} does not start:\n{log[-2000:]}")


@contextlib.contextmanager
def both(setup: Setup, folder: Path) -> Iterator[tuple[Contestant, Contestant]]:
    """Run localrun and its peer within the block."""
    with stopped(setup, folder) as pair:
        for contestant in pair:
            contestant.start()
        yield pair


@contextlib.contextmanager
def stopped(setup: Setup, folder: Path) -> Iterator[tuple[Contestant, Contestant]]:
    """Yield both servers before their start; stop them at the end of the block."""
    pair = (_localrun(setup, folder), _peer(setup, folder))
    try:
        yield pair
    finally:
        for contestant in pair:
            contestant.stop()


def _localrun(setup: Setup, folder: Path) -> Contestant:
    """Return localrun with the model in its own store; the recipe sets threads and context."""
    recipe = folder / "Modelfile"
    files = [setup.model, *([setup.projector] if setup.projector else [])]
    recipe.write_text(
        "".join(f"FROM {file}\n" for file in files) + f"PARAMETER num_ctx {setup.context}\n"
        f"PARAMETER num_thread {setup.threads}\n"
    )
    port = free_port()
    environ = {
        "LOCALRUN_MODELS": str(folder / "store"),
        "LOCALRUN_HOST": f"127.0.0.1:{port}",
        "LOCALRUN_LOG_DIR": str(folder),
        "LOCALRUN_KEEP_ALIVE": "-1",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    localrun = [sys.executable, "-m", "localrun"]
    create = [*localrun, "create", "bench", "-f", str(recipe)]
    done = subprocess.run(
        create, env=os.environ | environ, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise StartError(done.stderr)
    return Contestant(OURS, [*localrun, "serve"], folder, port, environ)


def _peer(setup: Setup, folder: Path) -> Contestant:
    port = free_port()
    options: dict[str, object] = {
        "--model": setup.model, "--port": port, "--threads": setup.threads,
        "--threads-batch": setup.threads, "--ctx-size": setup.cells, "--parallel": SLOTS,
    }  # fmt: skip
    if setup.projector is not None:
        options["--mmproj"] = setup.projector
    command = [str(peer.ensure_server()), "--kv-unified", "--jinja", "--no-ui", "--log-disable"]
    command += [str(word) for option in options.items() for word in option]
    command += setup.peer_options
    return Contestant(PEER, command, folder, port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
