"""``/api/version``: the first request of most programs, hence without any other module."""

from __future__ import annotations

import os

from starlette.responses import JSONResponse

from localrun import __version__
from localrun.server.routing.routes import Routes

# version of the API; clients refuse older servers
OLLAMA_VERSION = "0.33.0"


def version_routes(device: str) -> Routes:
    """Return the router."""
    router = Routes("/api")

    @router.head("/version")
    @router.get("/version")
    async def version() -> JSONResponse:
        body = {"version": OLLAMA_VERSION, "localrun": __version__, "pid": os.getpid()}
        return JSONResponse(body | {"device": device})

    return router
