"""Answers of ``/api/chat`` and ``/api/generate``: streamed lines, and whole answers.

The endpoints differ in the field of the text and share all others. Durations are integers, in
nanoseconds.
"""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallCollector, CallPart, calls_of
from localrun.server.core.request import AnswerFinished, TokenScores
from localrun.server.framing import ndjson_line
from localrun.server.reply_fields import extension, plain_logprob, token_logprob
from localrun.supervisor.model import KeepAlive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from localrun.chat.tool_calls import ToolCall
    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.core.tokens import TokenService
    from localrun.server.ollama.call import Call

NANOSECONDS = 1e9


async def load_or_unload(call: Call, completions: Completions) -> JsonObject:
    """Load or unload the model of a request without messages or prompt."""
    if call.request.keep_alive == KeepAlive(0):
        await completions.unload(call.request.model)
        return _frame(call, "", done_reason="unload")
    load_s = await completions.load(
        call.request.model,
        num_ctx=call.request.num_ctx,
        keep_alive=call.request.keep_alive,
        draft=call.request.draft,
    )
    return _frame(call, "", done_reason="load") | {"load_duration": int(load_s * NANOSECONDS)}


async def render(call: Call, tokens: TokenService) -> JsonObject:
    """Return the rendered prompt of a request, which Ollama's programs use to debug templates."""
    frame = _frame(call, "", done_reason=None)
    frame["_debug_info"] = {"rendered_template": await tokens.render(call.request)}
    return frame


async def complete(call: Call, completions: Completions) -> JsonObject:
    """Return the whole answer."""
    async with contextlib.aclosing(completions.stream(call.request)) as replies:
        parts = [part async for part in replies]
    return _answer_frame(call, parts, calls_of(parts))


async def stream(call: Call, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield b"" when the prompt is accepted, then one JSON object a line.

    Raises:
        LocalrunError: the request is refused, or fails after some lines.
    """
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        await anext(parts)
        yield b""  # the status is sent now, maybe long before the first token
        collector = CallCollector()
        scores: list[Reply] = []  # sent with the next part
        num_calls = 0
        async for part in parts:
            tool_call = collector.add(part)
            if isinstance(part, TokenScores):
                scores.append(part)
            elif tool_call is not None or not isinstance(part, CallPart):
                calls = [tool_call] if tool_call else []
                yield ndjson_line(_answer_frame(call, [*scores, part], calls, num_calls))
                num_calls += len(calls)
                scores.clear()


def _answer_frame(
    call: Call, parts: Sequence[Reply], calls: Sequence[ToolCall], first_call: int = 0
) -> JsonObject:
    """Return the object of some parts: of one line of a stream, or of a whole answer.

    ``first_call`` is the number of tool calls in earlier lines.
    """
    frame = _frame(
        call,
        "".join(part.text for part in parts if isinstance(part, TextPart)),
        reasoning="".join(part.text for part in parts if isinstance(part, ReasoningPart)),
        calls=[_tool_call(tool_call, index) for index, tool_call in enumerate(calls, first_call)],
    )
    scores = [score for part in parts if isinstance(part, TokenScores) for score in part.scores]
    if scores:
        frame["logprobs"] = list(map(_logprob, scores))
    return frame | (_end(parts[-1]) if isinstance(parts[-1], AnswerFinished) else {})


def _frame(
    call: Call,
    text: str,
    *,
    reasoning: str = "",
    calls: list[JsonObject] | None = None,
    done_reason: str | None = None,
) -> JsonObject:
    """Return one object of an answer."""
    created = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
    frame: JsonObject = {"model": call.request.model, "created_at": created}
    extra: JsonObject = {"thinking": reasoning} if reasoning else {}
    if calls:
        extra["tool_calls"] = calls
    if call.kind == "chat":
        frame["message"] = {"role": "assistant", "content": text, **extra}
    else:
        frame |= {"response": text, **extra}
    frame["done"] = done_reason is not None
    return frame | ({"done_reason": done_reason} if done_reason else {})


def _end(end: AnswerFinished) -> JsonObject:
    finished = end.finished
    context = {"context": list(finished.tokens)} if finished.tokens else {}
    return {
        "done": True,
        "done_reason": finished.reason.value,
        "total_duration": int(end.total_s * NANOSECONDS),
        "load_duration": int(end.load_s * NANOSECONDS),
        "prompt_eval_count": finished.prompt_tokens,
        "prompt_eval_cached_count": finished.cached_tokens,
        "prompt_eval_duration": int(finished.prompt_s * NANOSECONDS),
        "eval_count": finished.generated_tokens,
        "eval_duration": int(finished.generation_s * NANOSECONDS),
        **context,
        **extension([end]),
    }


def _logprob(score: Score) -> JsonObject:
    """Return the log probability of one token; Ollama omits an empty list."""
    piece, logprob, top = score
    return token_logprob(score) if top else plain_logprob(piece, logprob)


def _tool_call(call: ToolCall, index: int) -> JsonObject:
    function = {"index": index, "name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(8)}", "function": function}
