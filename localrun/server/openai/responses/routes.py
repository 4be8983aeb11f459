"""The routes under ``/v1/responses``."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun.errors import UsageError
from localrun.server.openai.responses.request import parse_call, parse_for_count
from localrun.server.openai.responses.service import failed
from localrun.server.parsing.fields import shown
from localrun.server.parsing.requests import read_in_thread, unless_disconnected
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from localrun.server.openai.responses.service import ResponseService
    from localrun.server.openai.responses.store import KeptItem
    from localrun.server.openai.tokens import TokenService

ORDERS = ("asc", "desc")
PAGE, LARGEST_PAGE = 20, 100


def responses_routes(desk: ResponseService, tokens: TokenService) -> APIRouter:
    """Return the router of OpenAI's Responses API."""
    router = APIRouter(prefix="/v1/responses")
    _add_asking(router, desk, tokens)
    _add_keeping(router, desk)
    return router


def _add_asking(router: APIRouter, desk: ResponseService, tokens: TokenService) -> None:

    @router.post("")
    async def create(request: Request) -> Response:
        call = await read_in_thread(request, partial(parse_call, store=desk.store))
        if call.stream:
            encode_error = partial(failed, call)
            return await streamed(request, desk.stream(call), encode_error=encode_error)
        if call.background:
            return JSONResponse(await desk.begin(call))
        return JSONResponse(await unless_disconnected(request, desk.whole(call)))

    @router.post("/input_tokens")
    async def count(request: Request) -> JSONResponse:
        asked = await read_in_thread(request, partial(parse_for_count, store=desk.store))
        counted = await unless_disconnected(request, tokens.count(asked))
        return JSONResponse({"object": "response.input_tokens", "input_tokens": counted})


def _add_keeping(router: APIRouter, desk: ResponseService) -> None:
    @router.get("/{number}")
    async def find(request: Request, number: str) -> JSONResponse:
        if request.query_params.get("stream") == "true":
            raise UsageError("a response that is kept cannot be streamed", param="stream")
        return JSONResponse(desk.find(number))

    @router.delete("/{number}")
    async def delete(number: str) -> JSONResponse:
        return JSONResponse(await desk.delete(number))

    @router.post("/{number}/cancel")
    async def cancel(number: str) -> JSONResponse:
        return JSONResponse(await desk.cancel(number))

    @router.get("/{number}/input_items")
    async def input_items(request: Request, number: str) -> Response:
        content = _page(request, desk.input_of(number))
        return Response(content, media_type="application/json")


def _page(request: Request, items: tuple[KeptItem, ...]) -> bytes:
    """Return the items after one, in the order asked for: the last first."""
    query = request.query_params
    order, after = query.get("order", "desc"), query.get("after")
    if order not in ORDERS:
        raise UsageError(f"order must be one of {', '.join(ORDERS)}", param="order")
    limit = _limit(query.get("limit", str(PAGE)))
    ordered = list(items if order == "asc" else reversed(items))
    ids = [item.id for item in ordered]
    if after is not None and after not in ids:
        raise UsageError(f"after names no item of the response: {shown(after)}", param="after")
    start = ids.index(after) + 1 if after is not None else 0
    page = ordered[start : start + limit]
    head = {
        "object": "list",
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(ordered),
    }
    data = b",".join(item.text for item in page)  # JSON already
    return json.dumps(head).encode()[:-1] + b',"data":[' + data + b"]}"


def _limit(text: str) -> int:
    limit = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0
    if not 1 <= limit <= LARGEST_PAGE:
        raise UsageError(f"limit must be from 1 to {LARGEST_PAGE}", param="limit")
    return limit
