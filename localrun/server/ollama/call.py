"""Request bodies of ``/api/chat`` and ``/api/generate``: field tables and the core request.

A request without messages or prompt loads the model; with ``keep_alive`` 0 it unloads the model.
Load options (``num_gpu``, ``num_thread``, ``use_mmap``, ...) have no effect here: they belong to
the recipe, change no answer, and would make every other client wait for another load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localrun.chat.media_marks import joined
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.request import CompletionRequest
from localrun.server.ollama.fields import (
    DEFAULT_OVERFLOW,
    MODEL,
    MODEL_ROWS,
    SHIFT,
    STREAM,
    TRUNCATE,
    ollama_overflow,
)
from localrun.server.parsing.constraints import OLLAMA_FORMAT
from localrun.server.parsing.conversation import MESSAGES_SCHEMA, conversation, message_list
from localrun.server.parsing.json_schema import OBJECT, TEXT, TOKEN, WHOLE, is_token, listed
from localrun.server.parsing.limits import LONGEST_TEMPLATE
from localrun.server.parsing.media import MAX_MEDIA, NO_IMAGES, images_of, refuse_images
from localrun.server.parsing.options import (
    DRAFT,
    KEEP_ALIVE,
    LOGPROBS,
    MANY,
    NUM_KEEP,
    OVERFLOW,
    SAMPLING_TABLE,
    STOP,
    TOP_LOGPROBS,
    context_length,
    num_logprobs,
    sampling_of,
)
from localrun.server.parsing.table import Field, Table, flag, group, text
from localrun.server.parsing.thinking import THINK
from localrun.server.parsing.tools import tool_list

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

Kind = Literal["chat", "generate"]
NOT_RAW = ("system", "template", "context", "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A parsed request of either kind."""

    kind: Kind
    request: CompletionRequest
    stream: bool
    is_empty: bool  # only load or unload
    renders_only: bool = False  # report the prompt in place of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The source of a prompt: a conversation, or a text."""

    messages: tuple[JsonObject, ...] | None = None
    text: str = ""
    suffix: str | None = None
    context: tuple[int, ...] = ()
    is_empty: bool


def parse_call(fields: Fields, kind: Kind) -> Call:
    """Parse the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    is_chat = kind == "chat"
    values = (CHAT if is_chat else GENERATE).read(fields)
    options, source = values[_OPTIONS], _chat(values) if is_chat else _generate(values)
    is_streamed = values[STREAM] is not False
    prompt = PromptSpec(
        messages=source.messages,
        text=source.text,
        tools=tuple(values[_TOOLS]),
        template_options=values[THINK],
        chat_template=None if is_chat else values[_TEMPLATE] or None,
        continue_final_message=is_chat,
    )
    generation = Generation(
        prompt=prompt,
        context=source.context,
        suffix=source.suffix,
        constraint=values[OLLAMA_FORMAT],
        logprobs=num_logprobs(values),
        returns_tokens=not is_chat and source.messages is not None,
        is_streamed=is_streamed,
    )
    request = CompletionRequest(
        model=values[MODEL],
        generation=generation,
        sampling=sampling_of(options),
        num_predict=options[_NUM_PREDICT],
        num_ctx=options[_NUM_CTX],
        draft=options[DRAFT] or None,
        stop=options[STOP],
        keep_alive=values[KEEP_ALIVE],
        overflow=ollama_overflow(values, options),
        default_overflow=DEFAULT_OVERFLOW,
        num_keep=options[NUM_KEEP],
    )
    return Call(
        kind=kind,
        request=request,
        stream=is_streamed,
        is_empty=source.is_empty,
        renders_only=values[_RENDERS_ONLY] or False,
    )


def _chat(values: Values) -> _Source:
    messages = values[_MESSAGES]
    return _Source(messages=messages, is_empty=not messages)


def _generate(values: Values) -> _Source:
    """Return a prompt: unchanged (raw), before a gap (suffix), or as a question."""
    text, suffix, system = values[_PROMPT] or "", values[_SUFFIX] or None, values[_SYSTEM]
    images = values[_IMAGES]
    is_empty = not text and not suffix and not images
    if values[_RAW]:
        wrong = next((name for name in NOT_RAW if values.fields.raw(name)), None)
        if wrong is not None:
            raise values.fields.wrong(wrong, "cannot be combined with raw")
        return _Source(text=text, suffix=suffix, is_empty=is_empty)
    if suffix is not None:
        if images:
            raise values.fields.wrong("images", "cannot be combined with suffix")
        return _Source(text=text, suffix=suffix, is_empty=is_empty)
    head: list[JsonObject] = [{"role": "system", "content": system}] if system else []
    question: JsonObject = {"role": "user", **joined([*images, text], "")}
    messages = (*conversation(head), question)
    return _Source(messages=messages, context=values[_CONTEXT], is_empty=is_empty)


def _messages(fields: Fields, name: str) -> tuple[JsonObject, ...]:
    return conversation(message_list(fields, name))


def _context(fields: Fields, name: str) -> tuple[int, ...]:
    """Return the tokens that an earlier answer reported."""
    context = fields.raw(name)
    if context is None:
        return ()
    if not isinstance(context, list) or not all(map(is_token, context)):
        raise fields.wrong(name, "must be the list of tokens of an earlier answer")
    if len(context) > MANY:
        raise fields.wrong(name, f"has more than {MANY} tokens")
    return tuple(context)


def _num_predict(options: Fields, name: str) -> int | None:
    """Return the maximum number of generated tokens; as in Ollama, 0 is no limit."""
    number = options.integer(name)
    return -1 if number == 0 else number


_NUM_PREDICT = Field("num_predict", _num_predict, WHOLE)
_NUM_CTX = context_length(0)
OPTIONS = Table(
    (*SAMPLING_TABLE.rows, _NUM_PREDICT, _NUM_CTX, DRAFT, STOP, OVERFLOW, NUM_KEEP),
    component="Options",
)
_OPTIONS = group("options", OPTIONS)
_MESSAGES = Field("messages", _messages, MESSAGES_SCHEMA)
_TOOLS = Field("tools", tool_list, listed(OBJECT))
_PROMPT, _SUFFIX, _SYSTEM = text("prompt"), text("suffix"), text("system")
_CONTEXT = Field("context", _context, listed(TOKEN))
_RAW = flag("raw")
_TEMPLATE = text("template", longest=LONGEST_TEMPLATE)
_RENDERS_ONLY = flag("_debug_render_only")
_NO_IMAGES = Field("images", lambda fields, _: refuse_images(fields), NO_IMAGES.schema)
_IMAGES = Field("images", images_of, listed(TEXT, maxItems=MAX_MEDIA))
_SHARED = (
    *MODEL_ROWS,
    _TOOLS,
    THINK,
    _OPTIONS,
    OLLAMA_FORMAT,
    KEEP_ALIVE,
    TRUNCATE,
    SHIFT,
    LOGPROBS,
    TOP_LOGPROBS,
    STREAM,
    _RENDERS_ONLY,
)
CHAT = Table((_NO_IMAGES, _MESSAGES, *_SHARED), component="OllamaChatRequest")
GENERATE = Table(
    (_IMAGES, _PROMPT, _SUFFIX, _SYSTEM, _CONTEXT, _RAW, _TEMPLATE, *_SHARED),
    component="OllamaGenerateRequest",
)
