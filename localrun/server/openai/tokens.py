"""``/v1/tokenize``, ``/v1/detokenize``, ``/v1/apply-template``: text and tokens of a model.

Takes the fields of vLLM (``prompt``, ``messages``), of llama.cpp (``content``) and of
Cohere and others (``text``).
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import BackendError, error_named
from localrun.runner.messages import (
    Detokenize,
    Event,
    Failed,
    PromptSpec,
    Submitted,
    Tokenize,
    Tokens,
)
from localrun.server.core.defaults import keep_alive_of, prompt_of, runner_model
from localrun.server.parsing import limits
from localrun.server.parsing.conversation import conversation
from localrun.server.parsing.media import refuse_media
from localrun.server.parsing.options import keep_alive
from localrun.server.parsing.prompt_end import prompt_end
from localrun.server.vectors import large_json
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.responses import Response

    from localrun.server.core.request import CompletionRequest
    from localrun.server.parsing.fields import Fields, JsonObject
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.pool import RunnerPool

TEXT_NAMES = ("prompt", "content", "text")
WAITING_THREADS = 32  # requests that wait for loads
LARGEST_TOKEN = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """A parsed request of any of the three kinds."""

    model: str
    request: Tokenize | Detokenize
    keep_alive: KeepAlive | None
    wants_pieces: bool = False


def parse_tokenize(fields: Fields) -> TokenCall:
    """Read the body of ``/v1/tokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return token_call(fields, _tokenize(fields, needs_messages=False))


def parse_detokenize(fields: Fields) -> TokenCall:
    """Read the body of ``/v1/detokenize``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    tokens = fields.raw("tokens")
    if not isinstance(tokens, list) or not all(map(_is_token, tokens)):
        raise fields.wrong("tokens", "must be a list of token ids")
    if len(tokens) > limits.MOST_TOKENS:
        raise fields.wrong("tokens", f"has more than {limits.MOST_TOKENS} entries")
    return token_call(fields, Detokenize(request_id=0, tokens=tuple(tokens)))


def parse_apply_template(fields: Fields) -> TokenCall:
    """Read the body of ``/v1/apply-template``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return token_call(fields, _tokenize(fields, needs_messages=True))


def token_call(fields: Fields, request: Tokenize | Detokenize) -> TokenCall:
    """Return a call with the fields that all kinds of calls share.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return TokenCall(
        model=limits.model_name(fields),
        request=request,
        keep_alive=keep_alive(fields),
        wants_pieces=bool(fields.boolean("return_token_strs") or fields.boolean("with_pieces")),
    )


class TokenService:
    """Answers by the runners of a pool, which load the model for it."""

    def __init__(self, pool: RunnerPool, find_model: Callable[[str], StoredModel]) -> None:
        self._pool = pool
        self._find_model = find_model
        self._threads = ThreadPoolExecutor(WAITING_THREADS, thread_name_prefix="tokens")

    async def tokenize(self, call: TokenCall) -> Response:
        """Answer ``/v1/tokenize``.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        answer = await self.tokens(call)
        body: JsonObject = {
            "count": len(answer.tokens),
            "max_model_len": answer.num_ctx,
            "tokens": list(answer.tokens),
        }
        if call.wants_pieces:
            body["token_strs"] = [piece.decode(errors="replace") for piece in answer.pieces]
        return await large_json(body)

    async def detokenize(self, call: TokenCall) -> Response:
        """Answer ``/v1/detokenize``.

        Raises:
            LocalrunError: there is no such model.
        """
        answer = await self.tokens(call)
        return await large_json({"prompt": answer.text, "content": answer.text})

    async def apply_template(self, call: TokenCall) -> Response:
        """Answer ``/v1/apply-template``.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        answer = await self.tokens(call)
        return await large_json({"prompt": answer.text, "count": len(answer.tokens)})

    async def tokens(self, call: TokenCall) -> Tokens:
        """Return the tokens and the text of a call.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        return await self._answer(call.model, call.request, call.keep_alive)

    async def count(self, request: CompletionRequest) -> int:
        """Return how many tokens the prompt of a request has.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        return len((await self._prompt(request)).tokens)

    async def render(self, request: CompletionRequest) -> str:
        """Return the prompt of a request as text.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        return (await self._prompt(request)).text

    async def _prompt(self, request: CompletionRequest) -> Tokens:
        wanted = Tokenize(request_id=0, prompt=request.generation.prompt)
        return await self._answer(request.model, wanted, request.keep_alive)

    async def _answer(
        self, name: str, request: Tokenize | Detokenize, stays: KeepAlive | None
    ) -> Tokens:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Event] = loop.create_future()

        def answer(event: Event) -> None:
            if not answered.done():
                answered.set_result(event)

        def sink(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(answer, event)

        def submit() -> None:
            model = self._find_model(name)
            self._pool.submit(
                runner_model(model),
                _completed(request, model),
                sink,
                RequestOptions(keep_alive=keep_alive_of(model.recipe, stays)),
            )

        await loop.run_in_executor(self._threads, submit)
        event = await answered
        if isinstance(event, Failed):
            raise error_named(event.code, event.message, hint=event.hint, param=event.param)
        if not isinstance(event, Tokens):
            raise BackendError("the runner gave another answer than was asked for")
        return event


def _tokenize(fields: Fields, *, needs_messages: bool) -> Tokenize:
    refuse_media(fields, "messages")
    messages = limits.messages(fields)
    text = _given_text(fields)
    if needs_messages and not messages:
        raise fields.wrong("messages", "is required")
    if not messages and text is None:
        raise fields.wrong("prompt", "is required, or content, text or messages")
    special = fields.boolean("add_special_tokens")
    chat = conversation(messages) if messages else None
    end = prompt_end(fields, chat or ())
    prompt = PromptSpec(
        messages=chat,
        text=text or "",
        tools=tuple(limits.tools(fields)),
        template_options=limits.template_options(fields),
        chat_template=fields.text("chat_template", longest=limits.LONGEST_TEMPLATE) or None,
        add_generation_prompt=end.add_generation_prompt,
        continue_final_message=end.continue_final_message,
    )
    return Tokenize(request_id=0, prompt=prompt, is_start=special is not False)


def _given_text(fields: Fields) -> str | None:
    """Return the text under any of its names; the first that is there counts."""
    texts = [fields.text(name) for name in TEXT_NAMES]
    return next((text for text in texts if text is not None), None)


def _completed(request: Tokenize | Detokenize, model: StoredModel) -> Submitted:
    """Return the request with the messages and the template of the model's recipe."""
    if isinstance(request, Detokenize):
        return request
    return replace(request, prompt=prompt_of(model, request.prompt))


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_TOKEN
