"""The contestants of `scripts/bench quick`: localrun, Ollama, and llama-server with one slot.

localrun and Ollama have the same commands and the same API, so one class drives both; they differ
in the variables of their settings. Each contestant has its own folder, models and port.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.contestants import PEER, Contestant, StartError
from benchmarks.load import Answer, ask_all, request, user
from benchmarks.quick.commands import BARE_PYTHON, first_output_ms, piped_ms, terminal_ms
from benchmarks.quick.processes import family, listener, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

OURS, BEFORE, OLLAMA, PYTHON = "localrun", "before", "Ollama", "python"
MODEL = "bench"  # the name that `benchmarks.load` asks for
START_S, END_S = 60.0, 20.0
POLL_S = 0.001
CLEARED = ("LOCALRUN_", "OLLAMA_", "PYTHON")  # with PYTHONPATH no command uses the warm process
KEPT = ("LOCALRUN_WARM",)


@dataclass(slots=True, kw_only=True)
class Program:
    """localrun or Ollama, with a store of models and the server on them."""

    name: str
    path: str
    folder: Path
    port: int
    store: str = "store"
    server: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of the program's processes."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(CLEARED) or key in KEPT
        }
        models, host = str(self.folder / self.store), f"127.0.0.1:{self.port}"
        if self.name == OLLAMA:
            own = {"OLLAMA_HOST": host, "OLLAMA_MODELS": models, "HOME": str(self.folder)}
            return kept | own | {"OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_NOPRUNE": "1"}
        own = {"LOCALRUN_HOST": host, "LOCALRUN_MODELS": models, "LOCALRUN_KEEP_ALIVE": "-1"}
        own |= {"LOCALRUN_LOG_DIR": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return kept | own

    def with_store(self, store: str, port: int) -> Program:
        """Return the program with other models and another port; its server does not run."""
        return replace(self, store=store, port=port, server=None)

    def blobs(self) -> list[Path]:
        """Return the files of the store's models."""
        return [path for path in (self.folder / self.store / "blobs").rglob("*") if path.is_file()]

    def piped_ms(self, *words: str, **variables: str) -> float:
        """Return the milliseconds of a command without a terminal."""
        return piped_ms([self.path, *words], self.environ | variables)

    def terminal_ms(self, *words: str) -> float:
        """Return the milliseconds of a command on a terminal."""
        return terminal_ms([self.path, *words], self.environ)

    def first_output_ms(self, *words: str) -> float:
        """Return the milliseconds to the first output of a command."""
        return first_output_ms([self.path, *words], self.environ)

    def serve_ms(self) -> float:
        """Start the server; return the milliseconds to its first answer."""
        log = self.folder / f"{self.store}.log"
        begun = time.perf_counter()
        with log.open("ab") as out:
            self.server = subprocess.Popen(
                [self.path, "serve"], env=self.environ, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        while not self.answers():
            if self.server.poll() is not None or time.perf_counter() - begun > START_S:
                raise StartError(f"{self.name} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(POLL_S)
        return 1000 * (time.perf_counter() - begun)

    @contextlib.contextmanager
    def serving(self, *models: str) -> Iterator[None]:
        """Run the server within the block, with these models loaded."""
        self.serve_ms()
        try:
            for model in models:
                self.load(model)
            if self.server is not None:
                settle(psutil.Process(self.server.pid))  # its warm process imports while it is idle
            yield
        finally:
            self.end()

    def end(self) -> None:
        """End the server, also one that a command started, and what it has forked."""
        started = self.server and psutil.Process(self.server.pid)
        process = started or listener(self.port)
        members = family(process) if process is not None else []
        if process is not None:
            process.terminate()
        _, alive = psutil.wait_procs(members, END_S)
        for member in alive:
            member.kill()
        if self.server is not None:
            self.server.wait()
            self.server = None

    def answers(self) -> bool:
        """Return whether the server answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.call("GET", "/api/version")
            return True
        return False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Return the body of the server's answer.

        Raises:
            StartError: the server answered with an error.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        try:
            connection.request(method, path, json.dumps(body) if body else None)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise StartError(f"{self.name}: {method} {path}: {response.status} {answer[:300]!r}")
        return answer

    def call_ms(self, method: str, path: str, body: dict[str, Any] | None = None) -> float:
        """Return the milliseconds of a request with its connection."""
        begun = time.perf_counter()
        self.call(method, path, body)
        return 1000 * (time.perf_counter() - begun)

    def load(self, model: str) -> None:
        """Load a model that may be loaded already."""
        self.call("POST", "/api/generate", {"model": model, "stream": False})

    @contextlib.contextmanager
    def unloading(self, model: str) -> Iterator[None]:
        """Unload a model after the block; return when none is loaded."""
        try:
            yield
        finally:
            body = {"model": model, "keep_alive": 0, "stream": False}
            self.call("POST", "/api/generate", body)
            self._await(lambda: not self._loaded(), "keeps a model")

    def greet(self) -> Answer:
        """Return the answer of a short chat with the large model."""
        (answer,) = ask_all(self.port, [request(user("hello"), 4)])
        return answer

    def _loaded(self) -> list[object]:
        models: list[object] = json.loads(self.call("GET", "/api/ps"))["models"]
        return models

    def _await(self, condition: Callable[[], bool], failure: str) -> None:
        until = time.perf_counter() + END_S
        while not condition():
            if time.perf_counter() > until:
                raise StartError(f"{self.name} {failure}")
            time.sleep(POLL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarePython:
    """A Python that does nothing: what each command is compared with."""

    name: str = PYTHON

    def piped_ms(self, *_: str, **__: str) -> float:
        """Return the milliseconds without a terminal."""
        return piped_ms(BARE_PYTHON, os.environ)

    def terminal_ms(self, *_: str) -> float:
        """Return the milliseconds on a terminal."""
        return terminal_ms(BARE_PYTHON, os.environ)


def one_slot(
    program: Path, model: Path, folder: Path, settings: Sequence[str], port: int
) -> Contestant:
    """Return llama-server on a model, for one chat at a time."""
    command = [str(program), "--model", str(model), "--port", str(port), "--parallel", "1"]
    command += [*settings, "--jinja", "--no-ui", "--log-disable"]
    return Contestant(PEER, command, folder, port)
