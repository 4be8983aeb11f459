"""Limits of the fields of a request, of all APIs: far above what client programs send.

What the runner refuses later (a grammar, a template) is refused here by the same number, before
it is copied and queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.parsing.json_parser import is_larger

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields, JsonObject

MOST_MESSAGES = 10_000
MOST_TOOLS = 1024
MOST_TOOL_CHARACTERS = 4 * 1024 * 1024
MOST_STOPS = 64
LONGEST_STOP = 1024  # characters
MOST_BREAKERS = 32
MOST_INPUTS = 2048  # texts to embed, documents to rank
MOST_CHOICES = 4096  # of which an answer is to be one
MOST_OPTION_CHARACTERS = 1024 * 1024  # of chat_template_kwargs: documents, for some templates
MOST_TOKENS = 2**18  # that are turned into text
LONGEST_NAME = 4096  # of a model, which may be a path
LONGEST_TEMPLATE = 128 * 1024  # characters; as chat/template.py
LONGEST_MODELFILE = 2 * 1024 * 1024  # characters, with its licenses
MOST_COPIED = 16 * 1024 * 1024  # characters: each of several answers is a request to the runner
LONGEST_GRAMMAR = 128 * 1024  # bytes; as engine/constraints/grammar.py
LONGEST_CONTEXT = 2**31 - 1  # tokens: llama.cpp's own limit


def model_name(fields: Fields) -> str:
    """Return the model of a request.

    Raises:
        UsageError: there is none, or it is too long for a name.
    """
    return fields.required_text("model", longest=LONGEST_NAME)


def old_or_new_name(fields: Fields) -> str:
    """Return the model of one of Ollama's requests, where its first name was ``name``.

    Raises:
        UsageError: there is none, or it is too long for a name.
    """
    found = fields.text("model", longest=LONGEST_NAME) or fields.text("name", longest=LONGEST_NAME)
    return found or model_name(fields)


def messages(fields: Fields) -> list[JsonObject]:
    """Return the messages of a request.

    Raises:
        UsageError: they are not a list of objects, or too many.
    """
    return fields.objects("messages", most=MOST_MESSAGES)


def tools(fields: Fields) -> list[JsonObject]:
    """Return the tools of a request.

    Raises:
        UsageError: they are not a list of objects, too many, or too large.
    """
    found = fields.objects("tools", most=MOST_TOOLS)
    if is_larger(found, MOST_TOOL_CHARACTERS):
        raise fields.wrong("tools", f"has more than {MOST_TOOL_CHARACTERS} characters")
    return found


def template_options(fields: Fields, name: str = "chat_template_kwargs") -> JsonObject:
    """Return what a request tells the chat template.

    Raises:
        UsageError: it is not an object, or too large.
    """
    options = fields.inner(name).all()
    if is_larger(options, MOST_OPTION_CHARACTERS):
        raise fields.wrong(name, f"has more than {MOST_OPTION_CHARACTERS} characters")
    return options


def context_length(fields: Fields, low: int = 1) -> int | None:
    """Return ``num_ctx``, None where the request does not say or says 0.

    Raises:
        UsageError: it is not a whole number in the range of a context.
    """
    return fields.integer("num_ctx", low, LONGEST_CONTEXT) or None


def stop_strings(fields: Fields, name: str = "stop") -> tuple[str, ...] | None:
    """Return the texts that end an answer, None where the request does not say.

    Raises:
        UsageError: they are not strings, too many, or one is too long.
    """
    if fields.raw(name) is None:
        return None
    return fields.strings(name, most=MOST_STOPS, longest=LONGEST_STOP)


def refuse_many_copies(fields: Fields, asked: object, count: int) -> None:
    """Refuse several answers to a prompt that is too large to be sent as often.

    Raises:
        UsageError: ``count`` copies have more than `MOST_COPIED` characters.
    """
    if count > 1 and is_larger(asked, MOST_COPIED // count):
        raise fields.wrong("n", f"is {count}, too many for a request of this size")


def refuse_long_grammar(text: str, param: str) -> None:
    """Refuse a grammar, a schema or an expression that the runner would not compile.

    Raises:
        UsageError: it has more than `LONGEST_GRAMMAR` bytes.
    """
    if len(text) > LONGEST_GRAMMAR or len(text.encode(errors="replace")) > LONGEST_GRAMMAR:
        raise UsageError(f"{param} has more than {LONGEST_GRAMMAR} bytes", param=param)
