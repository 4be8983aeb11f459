"""The server's application: routes, errors and gate put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from localrun.errors import UsageError
from localrun.server.core import Completions
from localrun.server.errors import install_handlers
from localrun.server.ollama.routes import ollama_routes
from localrun.server.openai.routes import openai_routes
from localrun.server.security import Gate
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.catalogue import Catalogue
    from localrun.supervisor.pool import RunnerPool

CONTROL_HEADER = "x-localrun"  # a web page cannot send it without an Origin


def create_app(
    pool: RunnerPool, catalogue: Catalogue, *, is_loopback: bool, shut_down: Callable[[], None]
) -> FastAPI:
    """Return the ASGI application; ``shut_down`` ends the server that runs it."""
    completions = Completions(pool, catalogue.find_model)
    app = FastAPI(
        title="localrun",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_handlers(app)
    app.include_router(openai_routes(completions, catalogue))
    app.include_router(ollama_routes(completions, catalogue, pool))
    app.add_middleware(Gate, is_loopback=is_loopback)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def root() -> PlainTextResponse:
        return PlainTextResponse("localrun is running")

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    @app.api_route("/health", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.post("/api/localrun/shutdown")
    async def shutdown(request: Request) -> JSONResponse:
        _refuse_unless_own_client(request)
        shut_down()
        return JSONResponse({"status": "leaving"})

    return app


def _refuse_unless_own_client(request: Request) -> None:
    """Refuse what did not come from a localrun command of this machine."""
    if CONTROL_HEADER not in request.headers:
        raise UsageError(f"the header {CONTROL_HEADER} is missing")
    peer = request.client.host if request.client else ""
    if "origin" in request.headers or peer not in LOOPBACK_HOSTS:
        raise HTTPException(403, "only localrun itself, on the same machine, may do this")
