"""``/tokenize``, ``/detokenize``, ``/apply-template`` at the root, for two kinds of programs.

    llama-server's  {"content", "add_special", "parse_special", "with_pieces"}, no model
                    {"tokens": [1, 2]} or {"tokens": [{"id": 1, "piece": "a"}]}
    vLLM's          {"model", "prompt" or "messages", ...}, answered as under /v1

Bytes that are no whole character are a list of numbers in place of the piece's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from localrun.runner.messages import PromptSpec, Tokenize
from localrun.server.llamacpp.model import with_model
from localrun.server.openai.tokens import (
    parse_apply_template,
    parse_detokenize,
    parse_tokenize,
    token_call,
)
from localrun.server.parsing.requests import read_in_thread, unless_disconnected
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from localrun.server.core.catalogue import Catalogue
    from localrun.server.openai.tokens import TokenCall, TokenService
    from localrun.server.parsing.fields import Fields
    from localrun.supervisor.pool import RunnerPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCall:
    """A parsed request for tokens; ``is_content`` is whether it is one of llama-server's."""

    call: TokenCall
    is_content: bool


def root_token_routes(desk: TokenService, catalogue: Catalogue, pool: RunnerPool) -> APIRouter:
    """Return the router."""
    router = APIRouter()

    def parsed(request: Request, parse: Callable[[Fields], T]) -> Awaitable[T]:
        return read_in_thread(request, lambda fields: parse(with_model(fields, pool, catalogue)))

    @router.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        call = await parsed(request, parse_root_tokenize)
        work = _tokens(desk, call) if call.is_content else desk.tokenize(call.call)
        return await unless_disconnected(request, work) or Response()

    @router.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        work = desk.detokenize(await parsed(request, parse_detokenize))
        return await unless_disconnected(request, work) or Response()

    @router.post("/apply-template")
    async def apply_template(request: Request) -> Response:
        work = desk.apply_template(await parsed(request, parse_apply_template))
        return await unless_disconnected(request, work) or Response()

    return router


def parse_root_tokenize(fields: Fields) -> RootCall:
    """Read the body of ``/tokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    text = fields.text("content")
    if text is None:
        return RootCall(call=parse_tokenize(fields), is_content=False)
    request = Tokenize(
        request_id=0,  # the pool numbers requests
        prompt=PromptSpec(text=text),
        is_start=fields.boolean("add_special") or False,
        parses_special=fields.boolean("parse_special") is not False,
    )
    return RootCall(call=token_call(fields, request), is_content=True)


async def _tokens(desk: TokenService, root: RootCall) -> Response:
    answer = await desk.tokens(root.call)
    listed: list[object] = list(answer.tokens)
    if root.call.wants_pieces:
        both = zip(answer.tokens, answer.pieces, strict=True)
        listed = [{"id": token, "piece": piece_json(piece)} for token, piece in both]
    return await large_json({"tokens": listed})


def piece_json(piece: bytes) -> str | list[int]:
    """Return a piece as JSON: its text, or its bytes if they are no text."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
