"""ASGI application of the server: routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from localrun.errors import UsageError
from localrun.server.apis import choose_dialect
from localrun.server.batches.location import has_batches
from localrun.server.core.client import Clients
from localrun.server.core.metrics import CONTENT_TYPE
from localrun.server.errors import install_handlers
from localrun.server.middleware.authentication import AuthenticationMiddleware
from localrun.server.middleware.keys import Keys
from localrun.server.middleware.origins import AllowedOrigins
from localrun.server.middleware.paths import Paths
from localrun.server.routing.lazy import LazyRoutes
from localrun.server.routing.routes import Route, Routes
from localrun.server.routing.table import TABLE
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from localrun.server.batches.own_requests import OwnRequests
    from localrun.server.routing.parts import Parts

UNAVAILABLE = 503
READY = "ready"
RESUME_AFTER_S = 3.0
OLLAMA_IS_RUNNING = "Ollama is running"  # clients compare this text exactly
CONTROL_HEADER = "x-localrun"  # browsers send it only with an Origin header


def create_app(
    parts: Parts, *, shut_down: Callable[[], None], keys: Keys | None = None
) -> Starlette:
    """Return the ASGI application; ``shut_down`` ends the server that runs it."""
    lock = asyncio.Lock()
    lazy = [LazyRoutes(paths, partial(load, parts), lock) for load, paths in TABLE.items()]
    router = _own_routes(parts, lazy, shut_down)
    app = Starlette(routes=[*lazy, *router.declared], lifespan=lambda _: _closing(parts))
    app.router.redirect_slashes = False  # see `Paths`
    install_handlers(app)
    parts.open_own_requests = partial(_own_requests, app)
    settings = parts.settings
    origins = AllowedOrigins(settings.access.origins, is_loopback=settings.is_loopback)
    app.add_middleware(Clients)
    app.add_middleware(AuthenticationMiddleware, origins=origins, keys=keys or Keys())
    app.add_middleware(parts.metrics.watch)
    app.add_middleware(Paths, choose_dialect=choose_dialect)
    return app


def _own_routes(parts: Parts, lazy: Sequence[LazyRoutes], shut_down: Callable[[], None]) -> Routes:
    """Return the routes that belong to no API."""
    router = Routes()

    @router.head("/")
    @router.get("/")
    async def root(request: Request) -> Response:
        return await _greeting(request, has_page=parts.settings.has_page)

    @router.head("/healthz")
    @router.get("/healthz")
    @router.head("/health")
    @router.get("/health")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @router.head("/readyz")
    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        status = parts.readiness
        return JSONResponse({"status": status}, 200 if status == READY else UNAVAILABLE)

    @router.head("/metrics")
    @router.get("/metrics")
    async def read_metrics() -> PlainTextResponse:
        pool = await asyncio.to_thread(parts.deferred_pool.open)
        return PlainTextResponse(
            parts.metrics.text(pool, parts.remotes.open_requests), media_type=CONTENT_TYPE
        )

    @router.get("/openapi.json")
    async def openapi() -> Response:
        routes = [route for group in lazy for route in (await group.routes()).declared]
        text = await asyncio.to_thread(_document, [*routes, *router.declared])
        return Response(text, media_type="application/json")

    @router.post("/api/localrun/shutdown")
    async def shutdown(request: Request) -> JSONResponse:
        _refuse_unless_own_client(request)
        shut_down()
        return JSONResponse({"status": "leaving"})

    return router


async def _greeting(request: Request, *, has_page: bool) -> Response:
    """Return the chat page to a browser, which imports it, and a text to others."""
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(OLLAMA_IS_RUNNING)
    if not has_page:
        return PlainTextResponse("localrun is running")
    web = await asyncio.to_thread(import_module, "localrun.server.web.routes")
    page: Response = await web.home(request)
    return page


@contextlib.asynccontextmanager
async def _closing(parts: Parts) -> AsyncGenerator[None, None]:
    """Go on with open batches, and release what the routes hold when the server ends."""
    resuming = asyncio.create_task(_resume_batches(parts))
    yield
    resuming.cancel()
    await parts.stop_batches()
    await parts.close_remotes()
    await asyncio.to_thread(parts.close)


async def _resume_batches(parts: Parts) -> None:
    """Go on with batches that an earlier server left, once the start of this one is over."""
    await asyncio.sleep(RESUME_AFTER_S)
    if await asyncio.to_thread(has_batches, parts.workspace.environ):
        await asyncio.to_thread(import_module, "localrun.server.batches.service")
        parts.batches.start()


def _own_requests(app: Starlette) -> OwnRequests:
    from localrun.server.batches.own_requests import OwnRequests

    return OwnRequests(app, choose_dialect)


def _document(routes: Iterable[Route]) -> bytes:
    from localrun.server.openapi.document import document  # lazy: imports FastAPI

    return document(routes)


def _refuse_unless_own_client(request: Request) -> None:
    """Refuse a request that does not come from a localrun command on this machine."""
    if CONTROL_HEADER not in request.headers:
        raise UsageError(f"the header {CONTROL_HEADER} is missing")
    peer = request.client.host if request.client else ""
    if "origin" in request.headers or peer not in LOOPBACK_HOSTS:
        raise HTTPException(403, "only localrun itself, on the same machine, may do this")
