"""Text and tokens of models without generating: tokenize, detokenize, render, count.

Requests of all APIs end here; the runner's `Tokens` has both sides, so callers take what they need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from localrun.chat.media_marks import media_of
from localrun.errors import UsageError
from localrun.remote.model import RemoteTokens
from localrun.runner.messages import Detokenize, PromptSpec, Tokenize, Tokens
from localrun.server.core.bridge import EventStream, PoolRequest, end_of
from localrun.server.core.defaults import keep_alive_of, messages_of, prompt_of
from localrun.server.core.media import check_media
from localrun.services.remotes.stored import refuse_remote
from localrun.services.runner_models import runner_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.core.bridge import Bridge
    from localrun.server.core.media import AddressedMedia
    from localrun.server.core.remotes import Remotes
    from localrun.server.core.request import CompletionRequest
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request for the tokens of a prompt, or for the text of tokens."""

    model: str
    message: Tokenize | Detokenize
    keep_alive: KeepAlive | None = None


class TokenService:
    """Answers by the runners of a pool, which load the model first."""

    def __init__(
        self,
        bridge: Bridge,
        find_model: Callable[[str], StoredModel],
        remotes: Remotes,
        media: AddressedMedia,
    ) -> None:
        """``media`` fetches what a prompt names by its address."""
        self._media = media
        self._bridge = bridge
        self._find_model = find_model
        self._remotes = remotes

    async def tokens(self, request: TokenRequest) -> Tokens:
        """Return the tokens and the text of a request.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        message = request.message
        prompt = message.prompt if isinstance(message, Tokenize) else PromptSpec()
        async with self._media.fetched(prompt, request.model):
            answer, _ = await self._bridge.answer(partial(self._prepare, request), Tokens)
            return answer

    async def count(self, request: CompletionRequest) -> int:
        """Return the number of tokens of a request's prompt.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        prepare = partial(self._prepare_count, request)
        async with (
            self._media.fetched(request.generation.prompt, request.model),
            self._bridge.submitted(prepare) as events,
        ):
            if isinstance(events, RemoteTokens):
                return await self._remotes.count(events)
            if not isinstance(events, EventStream):
                raise TypeError(f"no count: {type(events).__name__}")
            return len((await end_of(events, Tokens)).tokens)

    async def render(self, request: CompletionRequest) -> str:
        """Return the prompt of a request as text.

        Raises:
            LocalrunError: there is no such model, or its template refuses the messages.
        """
        return (await self.tokens(_of_prompt(request))).text

    def _prepare_count(self, request: CompletionRequest) -> PoolRequest | RemoteTokens:
        model = self._find_model(request.model)
        prompt = request.generation.prompt
        if model.remote is None:
            return self._prepare(_of_prompt(request))
        if media_of(prompt.messages or ()):
            raise UsageError(f"{model.name} is a remote model, whose engine counts text only")
        messages = messages_of(model.recipe, prompt.messages) or ()
        return RemoteTokens(
            target=self._remotes.target(model), messages=messages, tools=prompt.tools
        )

    def _prepare(self, request: TokenRequest) -> PoolRequest:
        model = self._find_model(request.model)
        refuse_remote(model, "its tokens are not counted")
        message = request.message
        if isinstance(message, Tokenize):
            check_media(message.prompt, model)
            message = replace(message, prompt=prompt_of(model, message.prompt))
        return PoolRequest(
            model=runner_model(model),
            message=message,
            options=RequestOptions(keep_alive=keep_alive_of(model.recipe, request.keep_alive)),
        )


def _of_prompt(request: CompletionRequest) -> TokenRequest:
    return TokenRequest(
        model=request.model,
        message=Tokenize(request_id=0, prompt=request.generation.prompt),
        keep_alive=request.keep_alive,
    )
