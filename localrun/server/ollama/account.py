"""Account routes of Ollama's API: localrun has no accounts, so nobody is signed in.

Ollama's own programs call them before they offer cloud models.
"""

from __future__ import annotations

from starlette.responses import JSONResponse

from localrun.server.routing.routes import Routes

UNAUTHORIZED = 401
NO_CLOUD = {"cloud": {"disabled": True, "source": "config"}}
NO_ACCOUNTS = "localrun has no accounts: local models need none"


def account_routes() -> Routes:
    """Return the router."""
    router = Routes("/api")

    @router.get("/status")
    async def status() -> JSONResponse:
        return JSONResponse(NO_CLOUD)

    @router.post("/me")
    async def me() -> JSONResponse:
        return _refusal("unauthorized")

    @router.post("/signout")
    async def sign_out() -> JSONResponse:
        return _refusal("you are not currently signed in")

    return router


def _refusal(message: str) -> JSONResponse:
    """Return an error with Ollama's text, which its programs compare."""
    body = {"error": message, "code": "not_signed_in", "hint": NO_ACCOUNTS}
    return JSONResponse(body, UNAUTHORIZED)
