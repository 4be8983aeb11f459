"""The answers of ``/api/chat`` and ``/api/generate`` in Ollama's shapes.

Both share their end; they differ in where the text stands. Durations are whole
nanoseconds, as in Ollama.
"""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallCollector, CallPart, calls_of
from localrun.server.core.request import AnswerFinished, TokenScores
from localrun.server.extension import extension
from localrun.server.framing import ndjson_line
from localrun.server.scores import ollama_score
from localrun.supervisor.model import KeepAlive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from localrun.chat.tool_calls import ToolCall
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.ollama.call import Call
    from localrun.server.openai.tokens import TokenService
    from localrun.server.parsing.fields import JsonObject

NANOSECONDS = 1e9


async def load_or_unload(call: Call, completions: Completions) -> JsonObject:
    """Obey a request that has nothing to answer."""
    if call.request.keep_alive == KeepAlive(0):
        await completions.unload(call.request.model)
        return _frame(call, "", done_reason="unload")
    load_s = await completions.load(
        call.request.model, num_ctx=call.request.num_ctx, keep_alive=call.request.keep_alive
    )
    return _frame(call, "", done_reason="load") | {"load_duration": int(load_s * NANOSECONDS)}


async def render(call: Call, desk: TokenService) -> JsonObject:
    """Return the prompt of a request as Ollama's programs debug templates with it."""
    frame = _frame(call, "", done_reason=None)
    frame["_debug_info"] = {"rendered_template": await desk.render(call.request)}
    return frame


async def complete(call: Call, completions: Completions) -> JsonObject:
    """Return the whole answer as one object."""
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        whole = [part async for part in parts]
    return _answer_frame(call, whole, calls_of(whole))


async def stream(call: Call, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield b"" when the prompt is accepted, then one JSON object a line.

    Raises:
        LocalrunError: the request is refused, or fails after some lines.
    """
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        await anext(parts)
        yield b""  # the status is sent now, maybe long before the first token
        collector = CallCollector()
        scored: list[Reply] = []  # told with the part that follows
        num_calls = 0
        async for part in parts:
            whole = collector.add(part)
            if isinstance(part, TokenScores):
                scored.append(part)
            elif whole is not None or not isinstance(part, CallPart):
                calls = [whole] if whole else []
                yield ndjson_line(_answer_frame(call, [*scored, part], calls, num_calls))
                num_calls += len(calls)
                scored.clear()


def _answer_frame(
    call: Call, parts: Sequence[Reply], calls: Sequence[ToolCall], first_call: int = 0
) -> JsonObject:
    """Return the object of these parts, one of a stream or all of an answer.

    ``first_call`` is the number of calls in the frames before.
    """
    frame = _frame(
        call,
        "".join(part.text for part in parts if isinstance(part, TextPart)),
        thought="".join(part.text for part in parts if isinstance(part, ReasoningPart)),
        calls=[_tool_call(whole, index) for index, whole in enumerate(calls, first_call)],
    )
    scores = [score for part in parts if isinstance(part, TokenScores) for score in part.scores]
    if scores:
        frame["logprobs"] = [ollama_score(score) for score in scores]
    return frame | (_end(parts[-1]) if isinstance(parts[-1], AnswerFinished) else {})


def _frame(
    call: Call,
    text: str,
    *,
    thought: str = "",
    calls: list[JsonObject] | None = None,
    done_reason: str | None = None,
) -> JsonObject:
    """Return one object of an answer of the call's kind."""
    created = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
    frame: JsonObject = {"model": call.request.model, "created_at": created}
    extra: JsonObject = {"thinking": thought} if thought else {}
    if calls:
        extra["tool_calls"] = calls
    if call.kind == "chat":
        frame["message"] = {"role": "assistant", "content": text, **extra}
    else:
        frame |= {"response": text, **extra}
    frame["done"] = done_reason is not None
    return frame | ({"done_reason": done_reason} if done_reason else {})


def _end(done: AnswerFinished) -> JsonObject:
    context = {"context": list(done.finished.tokens)} if done.finished.tokens else {}
    return {
        "done": True,
        "done_reason": done.finished.reason.value,
        "total_duration": int(done.total_s * NANOSECONDS),
        "load_duration": int(done.load_s * NANOSECONDS),
        "prompt_eval_count": done.finished.prompt_tokens,
        "prompt_eval_duration": int(done.finished.prompt_s * NANOSECONDS),
        "eval_count": done.finished.generated_tokens,
        "eval_duration": int(done.finished.generation_s * NANOSECONDS),
        **context,
        **extension([done]),
    }


def _tool_call(call: ToolCall, index: int) -> JsonObject:
    function = {"index": index, "name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(8)}", "function": function}
