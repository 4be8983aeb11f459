"""``/tokenize``, ``/detokenize``, ``/apply-template``: the token routes of llama-server and vLLM.

    llama-server's  {"content", "add_special", "parse_special", "with_pieces"}, no model
                    {"tokens": [1, 2]} or {"tokens": [{"id": 1, "piece": "a"}]}
    vLLM's          {"model", "prompt" or "messages", ...}, answered as under /v1

A piece that is not valid UTF-8 is a list of its bytes in place of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from localrun.runner.messages import PromptSpec, Tokenize
from localrun.server.llamacpp.model import with_model
from localrun.server.openai.tokens import (
    APPLY_TEMPLATE,
    DETOKENIZE,
    TOKEN_CALL,
    TOKENIZE,
    parse_apply_template,
    parse_detokenize,
    parse_tokenize,
    prompt_response,
    text_response,
    token_call,
    token_response,
)
from localrun.server.parsing.json_schema import TEXT
from localrun.server.parsing.options import MODEL
from localrun.server.parsing.requests import read_in_thread, unless_disconnected
from localrun.server.parsing.table import Field, Table, documented, flag
from localrun.server.routing.routes import Routes
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from localrun.server.core.loaded_names import Catalogue
    from localrun.server.core.tokens import TokenService
    from localrun.server.openai.tokens import TokenCall
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import AnyField
    from localrun.supervisor.pool import RunnerPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCall:
    """A parsed request for tokens; ``is_content`` marks llama-server's form."""

    call: TokenCall
    is_content: bool


def root_token_routes(desk: TokenService, catalogue: Catalogue, pool: RunnerPool) -> Routes:
    """Return the router."""
    router = Routes()

    def parsed(request: Request, parse: Callable[[Fields], T]) -> Awaitable[T]:
        return read_in_thread(request, lambda fields: parse(with_model(fields, pool, catalogue)))

    @router.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        call = await parsed(request, parse_root_tokenize)
        work = _tokens(desk, call) if call.is_content else token_response(call.call, desk)
        return await unless_disconnected(request, work) or Response()

    @router.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        work = text_response(await parsed(request, parse_detokenize), desk)
        return await unless_disconnected(request, work) or Response()

    @router.post("/apply-template")
    async def apply_template(request: Request) -> Response:
        work = prompt_response(await parsed(request, parse_apply_template), desk)
        return await unless_disconnected(request, work) or Response()

    return router


def parse_root_tokenize(fields: Fields) -> RootCall:
    """Parse the body of ``/tokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    if fields.raw("content") is None:
        return RootCall(call=parse_tokenize(fields), is_content=False)
    values = CONTENT.read(fields)
    request = Tokenize(
        request_id=0,  # the pool numbers requests
        prompt=PromptSpec(text=values[_CONTENT]),
        is_start=values[_ADD_SPECIAL] or False,
        parses_special=values[_PARSE_SPECIAL] is not False,
    )
    return RootCall(call=token_call(values, request), is_content=True)


async def _tokens(desk: TokenService, root: RootCall) -> Response:
    answer = await desk.tokens(root.call.request)
    listed: list[object] = list(answer.tokens)
    if root.call.wants_pieces:
        both = zip(answer.tokens, answer.pieces, strict=True)
        listed = [{"id": token, "piece": piece_json(piece)} for token, piece in both]
    return await large_json({"tokens": listed})


def piece_json(piece: bytes) -> str | list[int]:
    """Return a piece as JSON: its text, or its bytes if they are not valid UTF-8."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


def _any_model(table: Table, *rows: AnyField) -> Table:
    """Return a table for the API document in which the model is optional."""
    any_model = documented(MODEL.name, MODEL.schema)
    return Table(any_model if row is MODEL else row for row in (*rows, *table.rows))


_CONTENT = Field("content", lambda fields, name: fields.text(name) or "", TEXT)
_ADD_SPECIAL, _PARSE_SPECIAL = flag("add_special"), flag("parse_special")
CONTENT = Table((_CONTENT, _ADD_SPECIAL, _PARSE_SPECIAL, *TOKEN_CALL))
ROOT_TOKENIZE = _any_model(TOKENIZE, _ADD_SPECIAL, _PARSE_SPECIAL)
ROOT_DETOKENIZE = _any_model(DETOKENIZE)
ROOT_APPLY_TEMPLATE = _any_model(APPLY_TEMPLATE)
