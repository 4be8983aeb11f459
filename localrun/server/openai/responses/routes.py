"""Routes under ``/v1/responses``."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.errors import UsageError
from localrun.server.openai.responses.request import parse_call, parse_for_count
from localrun.server.openai.responses.service import failed
from localrun.server.parsing.fields import shown
from localrun.server.parsing.requests import read_in_thread, unless_disconnected
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from localrun.server.core.tokens import TokenService
    from localrun.server.openai.responses.service import ResponseService
    from localrun.server.openai.responses.store import KeptItem

ORDERS = ("asc", "desc")
PAGE, LARGEST_PAGE = 20, 100


def responses_routes(service: ResponseService, tokens: TokenService) -> Routes:
    """Return the router of OpenAI's Responses API."""
    router = Routes("/v1/responses")
    _add_creating(router, service, tokens)
    _add_reading(router, service)
    return router


def _add_creating(router: Routes, service: ResponseService, tokens: TokenService) -> None:

    @router.post("")
    async def create(request: Request) -> Response:
        call = await read_in_thread(request, partial(parse_call, store=service.store))
        if call.stream:
            encode_error = partial(failed, call)
            return await streamed(request, service.stream(call), encode_error=encode_error)
        if call.background:
            return JSONResponse(await service.start(call))
        return JSONResponse(await unless_disconnected(request, service.complete(call)))

    @router.post("/input_tokens")
    async def count(request: Request) -> JSONResponse:
        call = await read_in_thread(request, partial(parse_for_count, store=service.store))
        num_tokens = await unless_disconnected(request, tokens.count(call))
        return JSONResponse({"object": "response.input_tokens", "input_tokens": num_tokens})


def _add_reading(router: Routes, service: ResponseService) -> None:
    @router.get("/{response_id}")
    async def find(request: Request, response_id: str) -> JSONResponse:
        if request.query_params.get("stream") == "true":
            raise UsageError("a stored response cannot be streamed", param="stream")
        return JSONResponse(service.find(response_id))

    @router.delete("/{response_id}")
    async def delete(response_id: str) -> JSONResponse:
        return JSONResponse(await service.delete(response_id))

    @router.post("/{response_id}/cancel")
    async def cancel(response_id: str) -> JSONResponse:
        return JSONResponse(await service.cancel(response_id))

    @router.get("/{response_id}/input_items")
    async def input_items(request: Request, response_id: str) -> Response:
        content = _page(request, service.input_of(response_id))
        return Response(content, media_type="application/json")


def _page(request: Request, items: tuple[KeptItem, ...]) -> bytes:
    """Return a page of items: ``after``, ``limit`` and ``order`` of the query select it."""
    query = request.query_params
    order, after = query.get("order", "desc"), query.get("after")
    if order not in ORDERS:
        raise UsageError(f"order must be one of {', '.join(ORDERS)}", param="order")
    limit = _limit(query.get("limit", str(PAGE)))
    ordered = list(items if order == "asc" else reversed(items))
    ids = [item.id for item in ordered]
    if after is not None and after not in ids:
        raise UsageError(f"after is not an item of the response: {shown(after)}", param="after")
    start = ids.index(after) + 1 if after is not None else 0
    page = ordered[start : start + limit]
    head = {
        "object": "list",
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(ordered),
    }
    data = b",".join(item.text for item in page)  # already JSON
    return json.dumps(head).encode()[:-1] + b',"data":[' + data + b"]}"


def _limit(text: str) -> int:
    limit = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0
    if not 1 <= limit <= LARGEST_PAGE:
        raise UsageError(f"limit must be from 1 to {LARGEST_PAGE}", param="limit")
    return limit
