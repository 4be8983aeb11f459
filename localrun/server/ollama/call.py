"""The bodies of ``/api/chat`` and ``/api/generate`` as the one core request.

A request without messages or prompt loads the model, with ``keep_alive`` 0 it unloads it.
Options about how a model is loaded (``num_gpu``, ``num_thread``, ``use_mmap``, ...) are the
recipe's to say: they change no answer, and a request that changed them would load the
model again for everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.request import CompletionRequest
from localrun.server.ollama.overflow import DEFAULT, ollama_overflow
from localrun.server.openai.fields import is_token
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import ollama_constraint
from localrun.server.parsing.conversation import conversation
from localrun.server.parsing.limits import old_or_new_name
from localrun.server.parsing.media import refuse_media
from localrun.server.parsing.options import MANY, keep_alive, num_keep, num_logprobs, sampling
from localrun.server.parsing.thinking import ollama_thinking

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields, JsonObject

Kind = Literal["chat", "generate"]
NOT_RAW = ("system", "template", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A parsed request of either kind."""

    kind: Kind
    request: CompletionRequest
    stream: bool
    is_empty: bool  # only load or unload
    renders_only: bool = False  # report the prompt in place of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What a request asks: a conversation, or a text that goes on."""

    messages: tuple[JsonObject, ...] | None = None
    text: str = ""
    suffix: str | None = None
    context: tuple[int, ...] = ()
    is_empty: bool


def parse_call(fields: Fields, kind: Kind) -> Call:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_media(fields, "messages")
    options = fields.inner("options")
    question = _chat(fields) if kind == "chat" else _generate(fields)
    prompt = PromptSpec(
        messages=question.messages,
        text=question.text,
        tools=tuple(limits.tools(fields)),
        template_options=ollama_thinking(fields).options,
        chat_template=_template(fields) if kind == "generate" else None,
        continue_final_message=kind == "chat",
    )
    generation = Generation(
        prompt=prompt,
        context=question.context,
        suffix=question.suffix,
        constraint=ollama_constraint(fields),
        logprobs=num_logprobs(fields),
        returns_tokens=kind == "generate" and question.messages is not None,
    )
    request = CompletionRequest(
        model=old_or_new_name(fields),
        generation=generation,
        sampling=sampling(options),
        num_predict=_num_predict(options),
        num_ctx=limits.context_length(options, 0),
        stop=limits.stop_strings(options),
        keep_alive=keep_alive(fields),
        overflow=ollama_overflow(fields),
        default_overflow=DEFAULT,
        num_keep=num_keep(options),
    )
    stream = fields.boolean("stream") is not False
    return Call(
        kind=kind,
        request=request,
        stream=stream,
        is_empty=question.is_empty,
        renders_only=fields.boolean("_debug_render_only") or False,
    )


def _chat(fields: Fields) -> _Question:
    messages = conversation(limits.messages(fields))
    return _Question(messages=messages, is_empty=not messages)


def _generate(fields: Fields) -> _Question:
    """Read a prompt: as it is (raw), before a gap (suffix), or as a question."""
    prompt, suffix = fields.text("prompt") or "", fields.text("suffix") or None
    system, context = fields.text("system"), _context(fields)
    is_empty = not prompt and not suffix
    if fields.boolean("raw"):
        wrong = next((name for name in NOT_RAW if fields.raw(name)), None)
        if wrong is not None:
            raise fields.wrong(wrong, "cannot be combined with raw")
        return _Question(text=prompt, suffix=suffix, is_empty=is_empty)
    if suffix is not None:
        return _Question(text=prompt, suffix=suffix, is_empty=is_empty)
    head: list[JsonObject] = [{"role": "system", "content": system}] if system else []
    messages = conversation([*head, {"role": "user", "content": prompt}])
    return _Question(messages=messages, context=context, is_empty=is_empty)


def _context(fields: Fields) -> tuple[int, ...]:
    """Return the tokens that an earlier answer told."""
    context = fields.raw("context")
    if context is None:
        return ()
    if not isinstance(context, list) or not all(map(is_token, context)):
        raise fields.wrong("context", "must be the list of tokens that an earlier answer told")
    if len(context) > MANY:
        raise fields.wrong("context", f"has more than {MANY} tokens")
    return tuple(context)


def _template(fields: Fields) -> str | None:
    return fields.text("template", longest=limits.LONGEST_TEMPLATE) or None


def _num_predict(options: Fields) -> int | None:
    """Return how many tokens to generate at most; as in Ollama, 0 is no limit."""
    number = options.integer("num_predict")
    return -1 if number == 0 else number
