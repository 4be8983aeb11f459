"""ASGI application of the server: routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from localrun.errors import UsageError
from localrun.server.anthropic.routes import anthropic_routes
from localrun.server.apis import choose_dialect
from localrun.server.core.bridge import Bridge
from localrun.server.core.client import Clients
from localrun.server.core.embedding import Embedding
from localrun.server.core.loaded_names import LoadedNames
from localrun.server.core.metered import MeteredCompletions
from localrun.server.core.metrics import CONTENT_TYPE, Metrics
from localrun.server.core.tokens import TokenService
from localrun.server.embedding_routes import embedding_routes
from localrun.server.errors import install_handlers
from localrun.server.jobs import Jobs, job_environ
from localrun.server.llamacpp.props import props_routes
from localrun.server.llamacpp.tokens import root_token_routes
from localrun.server.middleware.authentication import AuthenticationMiddleware
from localrun.server.middleware.keys import Keys
from localrun.server.middleware.origins import AllowedOrigins
from localrun.server.middleware.paths import Paths
from localrun.server.model_routes import model_routes
from localrun.server.ollama.account import account_routes
from localrun.server.ollama.library import library_routes
from localrun.server.ollama.routes import ollama_routes
from localrun.server.ollama.transfers import transfer_routes
from localrun.server.openai.responses.routes import responses_routes
from localrun.server.openai.responses.service import ResponseService
from localrun.server.openai.routes import openai_routes
from localrun.server.own import own_routes
from localrun.server.why import why_routes
from localrun.services.creating.uploads import Uploads
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.server.core.loaded_names import Catalogue
    from localrun.services.workspace import Workspace
    from localrun.supervisor.pool import RunnerPool

UNAVAILABLE = 503
OLLAMA_IS_RUNNING = "Ollama is running"  # clients compare this text exactly
CONTROL_HEADER = "x-localrun"  # browsers send it only with an Origin header


def create_app(  # noqa: PLR0913 - one parameter a part of the server
    pool: RunnerPool,
    catalogue: Catalogue,
    workspace: Workspace,
    *,
    shut_down: Callable[[], None],
    keys: Keys | None = None,
    metrics: Metrics | None = None,
    warm: str | None = None,
) -> FastAPI:
    """Return the ASGI application; ``shut_down`` ends the server that runs it.

    The routes parse their bodies as leniently as the APIs that they implement, so FastAPI cannot
    derive a correct ``openapi.json`` from them; `openapi.document` builds it.
    """
    settings, metrics = workspace.settings, metrics or Metrics()
    bridge = Bridge(pool)
    completions = MeteredCompletions(
        bridge, catalogue.find_model, metrics, logs_prompts=settings.access.logs_prompts
    )
    uploads = Uploads(workspace.store)
    app = FastAPI(
        title="localrun",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # see `Paths`
        lifespan=lambda _: _closing(uploads),
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_handlers(app)
    names = LoadedNames(pool, catalogue)
    tokens = TokenService(bridge, catalogue.find_model)
    app.include_router(openai_routes(completions, tokens))
    app.include_router(model_routes(catalogue))
    responses = ResponseService(completions, catalogue.find_model)
    app.include_router(responses_routes(responses, tokens))
    app.include_router(anthropic_routes(completions, tokens))
    device = workspace.settings.device
    app.include_router(ollama_routes(completions, tokens, catalogue, pool, device))
    app.include_router(root_token_routes(tokens, catalogue, pool))
    app.include_router(props_routes(catalogue, pool))
    app.include_router(account_routes())
    app.include_router(library_routes(workspace, names))
    app.include_router(why_routes(catalogue, pool, settings))
    app.include_router(own_routes(completions, pool, names))
    app.include_router(transfer_routes(Jobs(job_environ(workspace), warm), uploads, names))
    app.include_router(embedding_routes(Embedding(bridge, catalogue.find_model, metrics)))
    origins = AllowedOrigins(settings.access.origins, is_loopback=settings.is_loopback)
    app.add_middleware(Clients)
    app.add_middleware(AuthenticationMiddleware, origins=origins, keys=keys or Keys())
    app.add_middleware(metrics.watch)
    app.add_middleware(Paths, choose_dialect=choose_dialect)

    @app.head("/")
    @app.get("/")
    async def root(request: Request) -> PlainTextResponse:
        is_browser = "text/html" in request.headers.get("accept", "")
        return PlainTextResponse("localrun is running" if is_browser else OLLAMA_IS_RUNNING)

    @app.head("/healthz")
    @app.get("/healthz")
    @app.head("/health")
    @app.get("/health")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.head("/readyz")
    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        if pool.is_closing:
            return JSONResponse({"status": "leaving"}, UNAVAILABLE)
        return JSONResponse({"status": "ready"})

    @app.head("/metrics")
    @app.get("/metrics")
    async def read_metrics() -> PlainTextResponse:
        return PlainTextResponse(metrics.text(pool), media_type=CONTENT_TYPE)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return Response(await asyncio.to_thread(_document, app), media_type="application/json")

    @app.post("/api/localrun/shutdown")
    async def shutdown(request: Request) -> JSONResponse:
        _refuse_unless_own_client(request)
        shut_down()
        return JSONResponse({"status": "leaving"})

    return app


@contextlib.asynccontextmanager
async def _closing(uploads: Uploads) -> AsyncGenerator[None, None]:
    """Release the lease on uploaded files when the server ends."""
    yield
    await asyncio.to_thread(uploads.close)


def _document(app: FastAPI) -> bytes:
    from localrun.server.openapi.document import document  # lazy: costs start-up time

    return document(app)


def _refuse_unless_own_client(request: Request) -> None:
    """Refuse a request that does not come from a localrun command on this machine."""
    if CONTROL_HEADER not in request.headers:
        raise UsageError(f"the header {CONTROL_HEADER} is missing")
    peer = request.client.host if request.client else ""
    if "origin" in request.headers or peer not in LOOPBACK_HOSTS:
        raise HTTPException(403, "only localrun itself, on the same machine, may do this")
