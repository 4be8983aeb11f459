"""Requests of remote models, and what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.remote.completion import CompletionOptions, remote_completion
from localrun.remote.engines import RemoteEngines
from localrun.remote.http import EngineHttp
from localrun.remote.model import EngineKind, RemoteModel, RemoteTarget, remote_address
from localrun.runner.messages import Finished, Generation, PromptSpec

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from localrun.remote.completion import RemoteCompletion
    from localrun.remote.engines import RemoteEvent

HELLO = ({"role": "user", "content": "hello"},)


def target(*urls: str, key: str | None = None, **changed: Any) -> RemoteTarget:
    model = RemoteModel(addresses=tuple(remote_address(url, "m") for url in urls), **changed)
    return RemoteTarget(name="big:latest", model=model, key=key)


def completion(
    asked: RemoteTarget,
    messages: Sequence[dict[str, Any]] | None = HELLO,
    text: str = "",
    *,
    sampling: dict[str, Any] | None = None,
    num_predict: int | None = None,
    keeps_thoughts: bool = False,
    prompt: dict[str, Any] | None = None,
    **generation: Any,
) -> RemoteCompletion:
    spec = PromptSpec(
        messages=None if messages is None else tuple(messages), text=text, **(prompt or {})
    )
    options = CompletionOptions(
        sampling=sampling or {}, num_predict=num_predict, keeps_thoughts=keeps_thoughts
    )
    return remote_completion(asked, Generation(prompt=spec, **generation), options)


def engine_fields(kind: EngineKind = EngineKind.COMPATIBLE, **options: Any) -> dict[str, Any]:
    """Return the body of a request to an engine of a kind."""
    import json

    asked = target("http://127.0.0.1:9", engine=kind)
    call = completion(asked, **options)
    body: dict[str, Any] = json.loads(call.body_for(asked.model.first))
    return body


def run_with_engines(
    act: Any, *, is_offline: bool = False, silence_s: float = 60.0, environ: Any = None
) -> Any:
    """Return what an act on fresh engines returns."""

    async def run() -> Any:
        http = EngineHttp(environ or {}, is_offline=is_offline, silence_s=silence_s)
        engines = RemoteEngines(http)
        try:
            result: Coroutine[Any, Any, Any] = act(engines)
            return await result
        finally:
            await engines.close()

    return asyncio.run(run())


def answer_of(call: RemoteCompletion, **options: Any) -> list[RemoteEvent]:
    """Return all events of one answer."""

    async def collect(engines: RemoteEngines) -> list[RemoteEvent]:
        async with contextlib.aclosing(engines.stream(call)) as events:
            return [event async for event in events]

    events: list[RemoteEvent] = run_with_engines(collect, **options)
    return events


def text_of(events: Sequence[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPart))


def thought_of(events: Sequence[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningPart))


def end_of(events: Sequence[object]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    return last
