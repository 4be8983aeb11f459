"""A real server, uvicorn and all, on a free port, with the fake runner behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from localrun.errors import ModelNotFoundError
from localrun.server.app import create_app
from localrun.server.core.deferred_pool import DeferredPool
from localrun.server.core.metrics import Metrics
from localrun.server.listening.tls import tls_options
from localrun.server.listening.unix_protocol import serve_unix
from localrun.server.listening.unix_socket import unix_listener
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.server.routing.parts import Parts
from localrun.server.start import bind
from localrun.services.stored_model import ModelDetails, ModelIdentity, StoredModel
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.supervisor.planning import DEFAULT_RULES
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import start_fake
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from localrun.server.listening.unix_socket import UnixListener
    from localrun.server.middleware.keys import Keys

HERMES_TEMPLATE = "tools <think></think> <tool_call> enable_thinking"


class FakeCatalogue:
    """One model, ``fake``."""

    def __init__(self, file: str = "fake.gguf") -> None:
        self.model = StoredModel(
            name="fake:latest",
            shards=(Path("/nowhere", file),),
            digest="sha256:" + "ab" * 32,
            size_bytes=1000,
            modified=datetime(2026, 1, 2, tzinfo=UTC),
            details=ModelDetails(
                format="gguf",
                family="qwen3",
                parameter_size="1.0M",
                quantization_level="Q8_0",
                context_length=2048,
                capabilities=("completion",),
            ),
            chat_template=HERMES_TEMPLATE,
        )

    def list_models(self) -> list[StoredModel]:
        return [self.model]

    def find_model(self, name: str) -> StoredModel:
        if name not in {"fake", "fake:latest"}:
            raise ModelNotFoundError(f"model {name!r} is not on this machine", hint="localrun list")
        return self.model

    def identify(self, name: str) -> ModelIdentity:
        model = self.find_model(name)
        return ModelIdentity(model.name, model.digest)


@contextlib.contextmanager
def posted(served: Served, path: str, body: dict[str, Any]) -> Iterator[socket.socket]:
    """Send a request, and leave at the end of the block, whether there is an answer or not."""
    url, content = httpx.URL(served.url), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((url.host, url.port or 0), timeout=HANG_S) as sock:
        sock.sendall(head.encode() + content)
        yield sock


class Served:
    """What a test needs of a running server."""

    def __init__(self, url: str, pool: RunnerPool, shutdowns: list[bool], app: Starlette) -> None:
        self.url = url
        self.app = app
        self.pool = pool
        self.shutdowns = shutdowns


@contextlib.contextmanager
def serving(
    file: str = "fake.gguf",
    workspace: Workspace | None = None,
    *,
    keys: Keys | None = None,
    warm: Path | None = None,
    **changed: Any,
) -> Iterator[Served]:
    """Serve; ``warm`` is the socket of a warm process, ``changed`` are fields of the settings."""
    rules = changed.get("loads", DEFAULT_RULES)
    pool = RunnerPool(keep_alive_s=300, start=start_fake, rules=rules)
    shutdowns: list[bool] = []
    settings = Settings(port=0, log_dir=Path("/nowhere"), models_dir=Path("/nowhere"), **changed)
    deferred_pool = DeferredPool(lambda: pool)
    deferred_pool.open()
    parts = Parts(
        deferred_pool,
        workspace or Workspace(settings, os.environ),
        Metrics(),
        None if workspace else FakeCatalogue(file),
        warm=str(warm) if warm else None,
    )
    app = create_app(parts, shut_down=lambda: shutdowns.append(True), keys=keys)
    listener = bind(settings)
    tls = tls_options(settings)
    config = uvicorn.Config(
        app,
        http=TimeoutProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        **tls,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server, settings, listener))
    thread.start()
    try:
        yield Served(
            f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}",
            pool,
            shutdowns,
            app,
        )
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        pool.close()


def _run(server: uvicorn.Server, settings: Settings, listener: socket.socket) -> None:
    """Serve an address and its Unix socket until the server is to exit."""

    async def serve(unix: UnixListener | None) -> None:
        shutdown = asyncio.Event()
        local = asyncio.create_task(serve_unix(server, unix, shutdown)) if unix else None
        await server.serve(sockets=[listener])
        shutdown.set()
        if local is not None:
            await local

    with unix_listener(settings, listener) as unix:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve(unix))
