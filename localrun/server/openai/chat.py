"""``/v1/chat/completions``: OpenAI's shapes on the one core request.

A field that is known and cannot be honoured is refused by name; null is the same
as absent; an omitted field never overrides what the model's own defaults say.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.chat.stream_parser import Text, Thought
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.errors import LocalrunError
from localrun.server.constraints import openai_constraint
from localrun.server.conversation import conversation
from localrun.server.core import CompletionRequest, Done, Opened
from localrun.server.errors import error_body
from localrun.server.options import keep_alive, refuse_unless_neutral, sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.chat.stream_parser import Part
    from localrun.server.core import Completions
    from localrun.server.fields import Fields, JsonObject

PATH = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
# OpenAI's defaults, at which its own client programs often send these fields
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tool_choice": ("auto", "none"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "repetition_penalty": (1,),
}
MOST_STOPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A parsed request."""

    request: CompletionRequest
    stream: bool
    include_usage: bool


def parse_chat(fields: Fields) -> ChatCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_unless_neutral(fields, NEUTRAL)
    model = fields.required_text("model")
    messages = fields.objects("messages")
    if not messages:
        raise fields.wrong("messages", "is required")
    stop = None if fields.raw("stop") is None else fields.strings("stop")
    if stop is not None and len(stop) > MOST_STOPS:
        raise fields.wrong("stop", f"has more than {MOST_STOPS} entries")
    maximum = fields.integer("max_completion_tokens", 1)
    request = CompletionRequest(
        model=model,
        messages=conversation(messages),
        tools=() if fields.raw("tool_choice") == "none" else tuple(fields.objects("tools")),
        template_options=_template_options(fields),
        sampling=sampling(fields),
        num_predict=maximum or fields.integer("max_tokens", 1),
        num_ctx=fields.integer("num_ctx", 1),
        stop=stop,
        constraint=openai_constraint(fields),
        keep_alive=keep_alive(fields),
    )
    return ChatCall(
        request=request,
        stream=fields.boolean("stream") or False,
        include_usage=fields.inner("stream_options").boolean("include_usage") or False,
    )


async def complete(call: ChatCall, completions: Completions) -> JsonObject:
    """Return the whole answer as one object."""
    answer = _Answer(call.request.model)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        async for part in parts:
            answer.add(part)
    return answer.whole()


async def stream(call: ChatCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events; an error in the middle is an event with ``error``, then the end.

    Raises:
        LocalrunError: the request is refused; nothing was yielded then.
    """
    answer = _Answer(call.request.model)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        await anext(parts)
        yield _event(answer.chunk({"role": "assistant", "content": ""}))
        try:
            async for part in parts:
                delta = answer.add(part)
                if delta is not None:
                    yield answer.event(delta)
        except LocalrunError as error:
            yield _event(error_body(PATH, error))
        else:
            yield _event(answer.chunk({}, finish=answer.finish))
            if call.include_usage:
                yield _event({**answer.chunk({}), "choices": [], "usage": answer.usage()})
        yield DONE


class _Answer:
    """Collects the parts of one answer and words them as OpenAI does."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "localrun",
        }
        # the last one: a model's name before it may hold anything
        before, key, after = _event(self.chunk({})).rpartition(b'"delta": ')
        self._before, self._after = before + key, after.removeprefix(b"{}")
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: list[_Call] = []
        self._done: Done | None = None

    @property
    def finish(self) -> str:
        """Return why the answer ended."""
        if self._calls and self._calls[-1].is_whole:
            return "tool_calls"
        return self._done.reason.value if self._done else "stop"

    def add(self, part: Opened | Part | Done) -> JsonObject | None:
        """Take a part; return the delta that tells it, None where there is nothing to tell."""
        if isinstance(part, Text):
            self._text.append(part.text)
            return {"content": part.text}
        if isinstance(part, Thought):
            self._thought.append(part.text)
            return {"reasoning_content": part.text}
        if isinstance(part, CallBegun):
            return self._begin_call(part)
        if isinstance(part, CallArguments):
            return self._go_on_with_call(part)
        if isinstance(part, Done):
            self._done = part
        return None

    def _begin_call(self, part: CallBegun) -> JsonObject:
        self._calls.append(_Call(part.name))
        return {"tool_calls": [{"index": len(self._calls) - 1, **self._calls[-1].whole()}]}

    def _go_on_with_call(self, part: CallArguments) -> JsonObject:
        self._calls[-1].add(part)
        index = len(self._calls) - 1
        return {"tool_calls": [{"index": index, "function": {"arguments": part.text}}]}

    def chunk(self, delta: JsonObject, *, finish: str | None = None) -> JsonObject:
        """Return a streamed chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def event(self, delta: JsonObject) -> bytes:
        """Return a streamed chunk as an event; only the delta is encoded, half the cost."""
        return self._before + json.dumps(delta, ensure_ascii=False).encode() + self._after

    def whole(self) -> JsonObject:
        """Return the answer that was not streamed."""
        text = "".join(self._text)
        message: JsonObject = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
        }
        if self._thought:
            message["reasoning_content"] = "".join(self._thought)
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self.usage(),
        }

    def usage(self) -> JsonObject:
        """Return the counts of tokens."""
        prompt = self._done.prompt_tokens if self._done else 0
        cached = self._done.cached_tokens if self._done else 0
        generated = self._done.generated_tokens if self._done else 0
        return {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


class _Call:
    """One call of a tool, in OpenAI's words."""

    def __init__(self, name: str) -> None:
        self.is_whole = False
        self._id = f"call_{secrets.token_hex(12)}"
        self._name = name
        self._arguments: list[str] = []

    def add(self, part: CallArguments) -> None:
        self._arguments.append(part.text)
        self.is_whole = part.is_last

    def whole(self) -> JsonObject:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": "function", "function": function}


def _template_options(fields: Fields) -> JsonObject:
    options = fields.raw("chat_template_kwargs") or {}
    if not isinstance(options, dict):
        raise fields.wrong("chat_template_kwargs", "must be an object")
    effort = fields.text("reasoning_effort")
    if effort is not None:
        options = {"enable_thinking": effort != "none", "reasoning_effort": effort, **options}
    return options


def _event(body: JsonObject) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
