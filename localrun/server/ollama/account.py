"""Ollama's questions about an account at its makers: nobody is signed in here, or ever will be.

Its own programs ask them before they offer models of the cloud.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

UNAUTHORIZED = 401
NO_CLOUD = {"cloud": {"disabled": True, "source": "config"}}
NO_ACCOUNTS = "localrun has no accounts: models here need none"


def account_routes() -> APIRouter:
    """Return the router."""
    router = APIRouter(prefix="/api")

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
    """Return Ollama's words, which its programs know."""
    body = {"error": message, "code": "not_signed_in", "hint": NO_ACCOUNTS}
    return JSONResponse(body, UNAUTHORIZED)
