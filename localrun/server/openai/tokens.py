"""``/v1/tokenize``, ``/v1/detokenize``, ``/v1/apply-template``: conversion of text and tokens.

Accepts the fields of vLLM (``prompt``, ``messages``), of llama.cpp (``content``) and of
Cohere and others (``text``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.runner.messages import Detokenize, PromptSpec, Tokenize
from localrun.server.core.tokens import TokenRequest
from localrun.server.openai.chat_request import CHAT_TEMPLATE, IMAGES, MESSAGES
from localrun.server.parsing.conversation import MESSAGES_SCHEMA, conversation, message_list
from localrun.server.parsing.json_schema import OBJECT, TOKEN, is_token, listed
from localrun.server.parsing.limits import MAX_TOKENS
from localrun.server.parsing.options import KEEP_ALIVE, MODEL
from localrun.server.parsing.prompt_end import PROMPT_END, prompt_end
from localrun.server.parsing.table import Field, Table, flag, text
from localrun.server.parsing.thinking import TEMPLATE_OPTIONS
from localrun.server.parsing.tools import tool_list
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from starlette.responses import Response

    from localrun.runner.messages import JsonObject
    from localrun.server.core.tokens import TokenService
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """A parsed request of any of the three kinds."""

    request: TokenRequest
    wants_pieces: bool = False


def parse_tokenize(fields: Fields) -> TokenCall:
    """Parse the body of ``/v1/tokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return _call(TOKENIZE.read(fields))


def parse_apply_template(fields: Fields) -> TokenCall:
    """Parse the body of ``/v1/apply-template``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return _call(APPLY_TEMPLATE.read(fields))


def parse_detokenize(fields: Fields) -> TokenCall:
    """Parse the body of ``/v1/detokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    values = DETOKENIZE.read(fields)
    return token_call(values, Detokenize(request_id=0, tokens=values[_TOKENS]))


def token_call(values: Values, message: Tokenize | Detokenize) -> TokenCall:
    """Return a call with the rows of `TOKEN_CALL`, which all kinds of calls have."""
    return TokenCall(
        request=TokenRequest(model=values[MODEL], message=message, keep_alive=values[KEEP_ALIVE]),
        wants_pieces=bool(values[_RETURN_TOKEN_STRS] or values[_WITH_PIECES]),
    )


async def token_response(call: TokenCall, service: TokenService) -> Response:
    """Return the response of ``/v1/tokenize``.

    Raises:
        LocalrunError: there is no such model, or its template refuses the messages.
    """
    answer = await service.tokens(call.request)
    body: JsonObject = {
        "count": len(answer.tokens),
        "max_model_len": answer.num_ctx,
        "tokens": list(answer.tokens),
    }
    if call.wants_pieces:
        body["token_strs"] = [piece.decode(errors="replace") for piece in answer.pieces]
    return await large_json(body)


async def text_response(call: TokenCall, service: TokenService) -> Response:
    """Return the response of ``/v1/detokenize``.

    Raises:
        LocalrunError: there is no such model.
    """
    answer = await service.tokens(call.request)
    return await large_json({"prompt": answer.text, "content": answer.text})


async def prompt_response(call: TokenCall, service: TokenService) -> Response:
    """Return the response of ``/v1/apply-template``.

    Raises:
        LocalrunError: there is no such model, or its template refuses the messages.
    """
    answer = await service.tokens(call.request)
    return await large_json({"prompt": answer.text, "count": len(answer.tokens)})


def _call(values: Values) -> TokenCall:
    chat, fields = values[_CHAT], values.fields
    texts = values.given(_TEXTS)  # the first one counts
    if chat is None and not texts:
        raise fields.wrong("prompt", "is required, or content, text or messages")
    end = prompt_end(values, chat or ())
    prompt = PromptSpec(
        messages=chat,
        text=next(iter(texts.values()), ""),
        tools=tuple(values[_TOOLS]),
        template_options=values[TEMPLATE_OPTIONS],
        chat_template=values[CHAT_TEMPLATE] or None,
        add_generation_prompt=end.add_generation_prompt,
        continue_final_message=end.continue_final_message,
    )
    is_start = values[_ADD_SPECIAL_TOKENS] is not False
    return token_call(values, Tokenize(request_id=0, prompt=prompt, is_start=is_start))


def _chat(fields: Fields, name: str) -> tuple[JsonObject, ...] | None:
    messages = message_list(fields, name)
    return conversation(messages) if messages else None


def _token_ids(fields: Fields, name: str) -> tuple[int, ...]:
    tokens = fields.raw(name)
    if not isinstance(tokens, list) or not all(map(is_token, tokens)):
        raise fields.wrong(name, "must be a list of token ids")
    if len(tokens) > MAX_TOKENS:
        raise fields.wrong(name, f"has more than {MAX_TOKENS} entries")
    return tuple(tokens)


_CHAT = Field("messages", _chat, MESSAGES_SCHEMA)
_TEXTS = (text("prompt"), text("content"), text("text"))
_TOOLS = Field("tools", tool_list, listed(OBJECT))
_ADD_SPECIAL_TOKENS = flag("add_special_tokens")
_RETURN_TOKEN_STRS, _WITH_PIECES = flag("return_token_strs"), flag("with_pieces")
_TOKENS = Field("tokens", _token_ids, listed(TOKEN, maxItems=MAX_TOKENS), is_required=True)
_OPTIONS = (
    *_TEXTS,
    _ADD_SPECIAL_TOKENS,
    *PROMPT_END.rows,
    CHAT_TEMPLATE,
    _TOOLS,
    TEMPLATE_OPTIONS,
)
TOKEN_CALL = (MODEL, KEEP_ALIVE, _RETURN_TOKEN_STRS, _WITH_PIECES)
TOKENIZE = Table((IMAGES, _CHAT, *_OPTIONS, *TOKEN_CALL))
APPLY_TEMPLATE = Table((IMAGES, MESSAGES, *_OPTIONS, *TOKEN_CALL))
DETOKENIZE = Table((_TOKENS, *TOKEN_CALL))
