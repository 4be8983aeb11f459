"""A whole installation in one process: a store, a server on it, the commands, and clients.

The server is the real one but for its runners, which are fake: they answer "hang" until they
are told to stop, and load as long as a test wants. Commands run in the main thread.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from localrun.client import launch
from localrun.names.parse import parse_name
from localrun.server.app import create_app
from localrun.server.core.deferred_pool import DeferredPool
from localrun.server.core.metrics import Metrics
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.server.routing.parts import Parts
from localrun.server.start import bind
from localrun.services.importing import import_path
from localrun.services.progress import SilentReport
from localrun.services.pulling.pull import pull_model
from localrun.services.workspace import open_workspace
from localrun.store.store import embedded_models
from localrun.supervisor.pool import RunnerPool
from tests.cli.fake_server import unused_address
from tests.cli.inside import Done, run_inside
from tests.fakes.starting import start_fake
from tests.fakes.web import Reply, Request, Web, serving
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from localrun.services.workspace import Workspace
    from localrun.supervisor.model import RunnerModel

BASES = ("one", "two")  # models with weights of their own, which stay
NUM_PARALLEL = 1  # and the supervisor sends four more


class Stream:
    """A client that asks, and reads its answer in a thread of its own."""

    def __init__(self, address: str, model: str, prompt: str = "hang") -> None:
        self.frames: list[dict[str, Any]] = []
        self.is_cut = False  # the connection ended without a final frame
        self.has_left = False
        self._connection = http.client.HTTPConnection(address, timeout=HANG_S)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        self._connection.request("POST", "/api/chat", json.dumps(body))
        self._socket = self._connection.sock
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def has_begun(self) -> bool:
        return bool(self.frames)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    @property
    def ends(self) -> list[dict[str, Any]]:
        """Return the final frames; there is one in the end, of an answer that is not cut."""
        return [frame for frame in self.frames if frame.get("done") or "error" in frame]

    def leave(self) -> None:
        """Hang up."""
        self.has_left = True
        with contextlib.suppress(OSError, AttributeError):  # it is over
            self._socket.shutdown(2)
        self.wait()

    def wait(self) -> None:
        self._thread.join(HANG_S)
        assert self.is_over, "the answer has no end"

    def _read(self) -> None:
        try:
            with self._connection.getresponse() as response:
                for line in response:
                    self.frames.append(json.loads(line))
        except (OSError, ValueError, http.client.HTTPException):
            self.is_cut = not self.has_left
        finally:
            self._connection.close()


@dataclass
class World:
    """The installation."""

    folder: Path
    address: str
    web: Web
    is_pull_held: threading.Event = field(default_factory=threading.Event)
    pool: RunnerPool | None = None

    def __post_init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._threads: list[threading.Thread] = []
        self._leaving = threading.Thread()
        self._hold = Path(os.environ["FAKE_RUNNER_HOLD"])

    @property
    def workspace(self) -> Workspace:
        return open_workspace(os.environ)

    @property
    def is_up(self) -> bool:
        return self.pool is not None

    @property
    def is_held(self) -> bool:
        """Return whether models that load wait."""
        return self._hold.exists()

    def hold_loads(self) -> None:
        self._hold.touch()

    def release_loads(self) -> None:
        self._hold.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the server."""
        assert self._server is None
        settings = self.workspace.settings
        pool = RunnerPool(keep_alive_s=300, start=start_fake)
        parts = Parts(DeferredPool(lambda: pool), self.workspace, Metrics())
        app = create_app(parts, shut_down=self._leave_in_background)
        listener = bind(settings)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=TimeoutProtocol,
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: server.started)
        self._server, self.pool, self._threads = server, pool, [thread]

    def stop(self) -> None:
        """End the server as a signal does: open answers get their errors."""
        server, pool, threads = self._server, self.pool, self._threads
        if server is None or pool is None:
            return
        server.should_exit = True
        pool.close(is_hasty=True)
        for thread in threads:
            thread.join()
        self._server = self.pool = None

    def settled_stop(self) -> None:
        """Wait until a server that was told to leave has left."""
        if self._leaving.ident is not None:
            self._leaving.join()

    def _leave_in_background(self) -> None:
        self._leaving = threading.Thread(target=self.stop)
        self._leaving.start()

    def run(self, *words: str) -> Done:
        """Run a command."""
        return run_inside(*words)

    def call(self, method: str, path: str, body: dict[str, Any]) -> int:
        """Call the server's API; return the status."""
        connection = http.client.HTTPConnection(self.address, timeout=HANG_S)
        try:
            connection.request(method, path, json.dumps(body))
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def ask(self, model: str, prompt: str = "hang") -> Stream:
        return Stream(self.address, model, prompt)

    def models(self) -> dict[str, str]:
        """Return the digests of the models in the store by name, as ``list`` shows them."""
        return {entry.ref.name: entry.ref.manifest for entry in self.workspace.store.entries()}

    def loaded(self) -> list[dict[str, Any]]:
        """Return the rows of ``ps``."""
        done = self.run("ps", "--json")
        assert done.code == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def runners(self) -> dict[RunnerModel, int]:
        """Return the process ids of the runners by what they have loaded."""
        states = self.pool._slot_states() if self.pool else []
        found = {state.key: state.runner for state in states}
        return {key: runner._process.pid for key, runner in found.items() if runner is not None}

    def pull(self, name: str) -> threading.Thread:
        """Pull a model whose bytes come when the pull is no longer held."""
        ref = parse_name(f"{self.web.url}/{name}.gguf")
        thread = threading.Thread(target=pull_model, args=(self.workspace, ref))
        thread.start()
        return thread


@contextlib.contextmanager
def open_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Make the installation, with two models of different weights in its store."""
    address = unused_address()
    environ = {
        "HOME": folder,
        "LOCALRUN_HOST": address,
        "LOCALRUN_MODELS": folder / "models",
        "LOCALRUN_CACHE": folder / "cache",
        "LOCALRUN_LOG_DIR": folder / "log",
        "FAKE_RUNNER_HOLD": folder / "hold",
        "FAKE_RUNNER_PARALLEL": NUM_PARALLEL,
        "COLUMNS": 200,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, str(value))
    gate = threading.Event()
    gate.set()

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            gate.wait(HANG_S)
        return Reply(200, files[request.path.strip("/")])

    files = {f"{name}.gguf": _weights(name) for name in ("pulled",)}
    with serving(answer) as web:
        world = World(folder, address, web, gate)
        monkeypatch.setattr(launch, "_spawn", lambda *_: _spawned(world))
        for name in BASES:
            path = folder / f"{name}.gguf"
            path.write_bytes(_weights(name))
            import_path(world.workspace, path, parse_name(name), SilentReport())
        try:
            yield world
        finally:
            gate.set()
            world.release_loads()
            world.stop()


def _weights(name: str) -> bytes:
    """Return the bytes of guide with others behind them: another digest."""
    return Path(embedded_models()["guide:latest"]).read_bytes() + name.encode()


class _Spawned:
    """What stands for the process of a background server: it is this one."""

    pid = os.getpid()

    def poll(self) -> None:
        return None


def _spawned(world: World) -> _Spawned:
    world.start()
    return _Spawned()
