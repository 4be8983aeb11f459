"""Answers of remote models: one request to one of the addresses, and its events.

Another address is asked only while nothing of an answer has arrived. An address that is silent is
asked for its health meanwhile, if there are others. Invariant: a stream ends in one `Finished` or
in an exception, and closing it ends the engine's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from localrun.chat.stream_parser import Part, ReasoningPart, TextPart
from localrun.chat.tool_calls import CallBegun
from localrun.engine.params import FinishReason
from localrun.errors import LocalrunError
from localrun.remote.addresses import Addresses
from localrun.remote.errors import can_be_retried, malformed, unreachable
from localrun.remote.events import AnswerEvents, parse_json
from localrun.remote.http import EngineRequest
from localrun.remote.reply import EngineReply, MalformedReplyError, RemoteScores
from localrun.runner.messages import Finished

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence

    from localrun.remote.completion import RemoteCompletion
    from localrun.remote.http import EngineHttp
    from localrun.remote.model import RemoteAddress, RemoteModel, RemoteTarget

SILENT_S = 10.0  # before the health of a silent address is asked
PROBE_S = 5.0
MODELS = "models"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteStarted:
    """An engine has begun to answer."""

    address: RemoteAddress


RemoteEvent = RemoteStarted | Part | RemoteScores | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """An answer whose first event has arrived."""

    address: RemoteAddress
    source: AnswerEvents
    first: Mapping[str, Any]
    others: AsyncGenerator[dict[str, Any], None]


class RemoteEngines:
    """The engines of all remote models, for one event loop."""

    def __init__(self, http: EngineHttp, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._addresses = Addresses(clock)
        self._open: Counter[str] = Counter()  # requests by model
        self._probes: set[asyncio.Task[None]] = set()

    @property
    def open_requests(self) -> dict[str, int]:
        """Return the number of open requests by model; may be read by any thread."""
        return {name: count for name, count in list(self._open.items()) if count}

    async def close(self) -> None:
        """Close all connections; open requests fail."""
        for probe in self._probes:
            probe.cancel()
        await self._http.close()

    async def stream(self, call: RemoteCompletion) -> AsyncGenerator[RemoteEvent, None]:
        """Yield `RemoteStarted`, the parts of the answer as they come, then one `Finished`.

        Raises:
            LocalrunError: no address answers, or the engine refuses, fails or breaks off.
        """
        begun_s, first_s = self._clock(), None
        reply = EngineReply(
            is_chat=call.is_chat, keeps_thoughts=call.keeps_thoughts, most_calls=call.most_calls
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._counted(call.target.name))
            answer = await self._begin(call, stack)
            yield RemoteStarted(answer.address)
            events = _joined(answer.first, answer.others)
            await stack.enter_async_context(contextlib.aclosing(events))
            async for event in events:
                for part in _parts(reply, event, call, answer.address):
                    if first_s is None and isinstance(part, TextPart | ReasoningPart | CallBegun):
                        first_s = self._clock()
                    yield part
            if reply.reason is None and not answer.source.is_complete:
                raise malformed(
                    call.target.name, answer.address, "ended in the middle of its answer"
                )
            for part in reply.finish():
                yield part
        yield _finished(reply, begun_s, first_s or self._clock(), self._clock())

    async def ask(
        self,
        name: str,
        model: RemoteModel,
        key: str | None,
        path: str,
        body_for: Callable[[RemoteAddress], bytes],
    ) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON that an engine answers to a request, which any address may answer.

        Raises:
            LocalrunError: no address answers, or the engine refuses or fails.
        """

        async def attempt(address: RemoteAddress) -> Any:  # noqa: ANN401 - any JSON
            request = EngineRequest(
                name=name, address=address, path=path, body=body_for(address), key=key
            )
            with self._addresses.in_use(address):
                async with self._http.open(request) as response:
                    return await parse_json(await response.body(), request)

        with self._counted(name):
            self._probe_due(name, model, key)
            return await self._attempts(name, model, key, self._addresses.order(model), attempt)

    async def check(self, target: RemoteTarget) -> None:
        """Check that an address of a remote model answers.

        Raises:
            LocalrunError: none does.
        """
        name, key = target.name, target.key

        async def attempt(address: RemoteAddress) -> None:
            await self.models_of(name, address, key)

        order = self._addresses.order(target.model)
        await self._attempts(name, target.model, key, order, attempt)

    async def models_of(self, name: str, address: RemoteAddress, key: str | None) -> Any:  # noqa: ANN401 - any JSON
        """Return what an engine says about its models; also the probe of its health.

        Raises:
            LocalrunError: it does not answer within `PROBE_S`, or refuses.
        """
        return await self.get(name, address, key, MODELS)

    async def get(self, name: str, address: RemoteAddress, key: str | None, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON below an address.

        Raises:
            LocalrunError: it does not answer within `PROBE_S`, or refuses.
        """
        request = EngineRequest(name=name, address=address, path=path, key=key, silence_s=PROBE_S)
        try:
            async with asyncio.timeout(PROBE_S), self._http.open(request) as response:
                return await parse_json(await response.body(), request)
        except TimeoutError as error:
            raise unreachable(name, address, f"did not answer in {PROBE_S:g} s") from error

    async def _begin(self, call: RemoteCompletion, stack: contextlib.AsyncExitStack) -> _Begun:
        """Return the answer of the first address that gives one; ``stack`` keeps it open."""
        self._probe_due(call.target.name, call.target.model, call.target.key)

        async def attempt(address: RemoteAddress) -> _Begun:
            async with contextlib.AsyncExitStack() as own:
                begun = await self._first_event(call, address, own)
                stack.push_async_exit(own.pop_all())
                return begun

        order = self._addresses.order(call.target.model, call.prefixes)
        return await self._attempts(
            call.target.name, call.target.model, call.target.key, order, attempt
        )

    async def _first_event(
        self, call: RemoteCompletion, address: RemoteAddress, stack: contextlib.AsyncExitStack
    ) -> _Begun:
        body = call.body_for(address)
        request = EngineRequest(
            name=call.target.name,
            address=address,
            path=call.path,
            body=body,
            key=call.target.key,
            is_background=call.is_background,
        )
        stack.enter_context(self._addresses.in_use(address, call.prefixes))
        response = await stack.enter_async_context(self._http.open(request))
        source = AnswerEvents(request, response)
        events = await stack.enter_async_context(contextlib.aclosing(source.read()))
        first = await anext(events, None)
        if first is None:
            raise unreachable(call.target.name, address, "closed the connection without an answer")
        return _Begun(address=address, source=source, first=first, others=events)

    async def _attempts(
        self,
        name: str,
        model: RemoteModel,
        key: str | None,
        order: Sequence[RemoteAddress],
        attempt: Callable[[RemoteAddress], Awaitable[T]],
    ) -> T:
        """Return the result of the first attempt that succeeds.

        One address alone is asked twice if it closed a connection: maybe it was kept for too long.
        """
        attempts = list(order) if len(order) > 1 else [order[0], order[0]]
        for place, address in enumerate(attempts):
            is_last = place == len(attempts) - 1
            try:
                async with self._watched(name, address, key, is_alone=len(model.addresses) == 1):
                    result = await attempt(address)
            except LocalrunError as error:
                if not can_be_retried(error):
                    raise
                self._addresses.failed(address)
                if is_last or (len(order) == 1 and not _may_be_stale(error)):
                    raise
            else:
                self._addresses.succeeded(address)
                return result
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def _watched(
        self, name: str, address: RemoteAddress, key: str | None, *, is_alone: bool
    ) -> AsyncGenerator[None, None]:
        """Give an attempt up if its address is silent and fails a probe, and there are others."""
        if is_alone:
            yield
            return
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._watch(name, address, key, limit))
                try:
                    yield
                finally:
                    watch.cancel()
        except TimeoutError as error:
            raise unreachable(name, address, "is silent and fails its health check") from error

    async def _watch(
        self, name: str, address: RemoteAddress, key: str | None, limit: asyncio.Timeout
    ) -> None:
        while True:
            await asyncio.sleep(SILENT_S)
            try:
                await self.models_of(name, address, key)
            except LocalrunError as error:
                if can_be_retried(error):
                    limit.reschedule(asyncio.get_running_loop().time())
                    return

    def _probe_due(self, name: str, model: RemoteModel, key: str | None) -> None:
        """Probe the addresses that failed a while ago, beside the request."""
        if len(model.addresses) == 1:
            return
        for address in self._addresses.due(model):
            probe = asyncio.create_task(self._probe(name, address, key))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _probe(self, name: str, address: RemoteAddress, key: str | None) -> None:
        state = self._addresses.state(address)
        state.is_probed = True
        try:
            await self.models_of(name, address, key)
        except LocalrunError as error:
            if can_be_retried(error):
                self._addresses.failed(address)
                return
        finally:
            state.is_probed = False
        self._addresses.succeeded(address)

    @contextlib.contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]


def _parts(
    reply: EngineReply, event: Mapping[str, Any], call: RemoteCompletion, address: RemoteAddress
) -> list[Part | RemoteScores]:
    try:
        return reply.push(event)
    except MalformedReplyError as error:
        raise malformed(call.target.name, address, str(error)) from error


async def _joined(
    first: Mapping[str, Any], others: AsyncGenerator[dict[str, Any], None]
) -> AsyncGenerator[Mapping[str, Any], None]:
    yield first
    async for event in others:
        yield event


def _may_be_stale(error: LocalrunError) -> bool:
    """Return whether an engine may have closed a connection that was kept from a request before."""
    return "closed the connection" in error.message


def _finished(reply: EngineReply, begun_s: float, first_s: float, now_s: float) -> Finished:
    """Return the end of an answer; without usage, its pieces stand for the tokens."""
    usage = reply.usage
    num_tokens = reply.num_pieces if usage.generated_tokens is None else usage.generated_tokens
    return Finished(
        request_id=0,
        reason=reply.reason or FinishReason.STOP,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=min(usage.cached_tokens, usage.prompt_tokens),
        generated_tokens=num_tokens,
        queue_s=0.0,
        prompt_s=first_s - begun_s,
        generation_s=now_s - first_s,
        stop=reply.stop,
        thought_tokens=min(usage.thought_tokens, num_tokens),
    )
