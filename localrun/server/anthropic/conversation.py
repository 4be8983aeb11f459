"""Anthropic's messages as chat templates take them.

One message there may hold texts, thoughts, calls of tools and results of tools, and
messages of one role may follow each other. Templates want a result to be a message of
its own, roles that take turns, and what the system says at the head only.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.limits import messages as messages_of
from localrun.server.parsing.role_order import BETWEEN_BLOCKS, given, reminder, with_head

if TYPE_CHECKING:
    from localrun.errors import UsageError
    from localrun.server.parsing.fields import JsonObject

# Claude Code begins its system prompt with this line, another one in each request: no
# beginning of a prompt would be found in the cache
BILLING = "x-anthropic-billing-header:"
UNREADABLE = {"redacted_thinking"}  # encrypted by somebody else: nothing that a model could read


def conversation(fields: Fields) -> tuple[JsonObject, ...]:
    """Return what ``system`` and ``messages`` say, the system first.

    Raises:
        UsageError: a message is malformed, or holds what no text model can read.
    """
    messages = [
        Fields(message, f"messages[{place}].") for place, message in enumerate(messages_of(fields))
    ]
    first = list(takewhile(lambda message: message.raw("role") == "system", messages))
    reader = _Reader()
    turns = [turn for message in messages[len(first) :] for turn in reader.turns(message)]
    if not turns or turns[-1].get("tool_calls"):
        raise fields.wrong("messages", "must end with a user message, or with text of an answer")
    system = _texts(fields, "system") + [text for one in first for text in _texts(one, "content")]
    return with_head(_without_billing(system), turns)


class _Reader:
    """Reads one message after the other; results need the names of earlier calls."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # of tools, by the id of a call

    def turns(self, message: Fields) -> list[JsonObject]:
        """Return the messages that one message is."""
        role = message.text("role")
        if role == "assistant":
            return [self._assistant(message)]
        if role == "user":
            return self._user(message)
        if role == "system":
            return [reminder(_texts(message, "content"))]
        raise message.wrong("role", f"must be user, assistant or system, not {shown(role)}")

    def _assistant(self, message: Fields) -> JsonObject:
        texts, thoughts, calls = [], [], []
        for block in _blocks(message, "content"):
            kind = block.text("type")
            if kind == "tool_use":
                calls.append(self._call(block))
            elif kind == "thinking":
                thoughts.append(block.text("thinking") or "")
            elif kind not in UNREADABLE:
                texts.append(_text(block))
        turn: JsonObject = {"role": "assistant", "content": BETWEEN_BLOCKS.join(texts)}
        thought = BETWEEN_BLOCKS.join(filter(None, thoughts))
        return turn | given(reasoning_content=thought, tool_calls=calls)

    def _call(self, block: Fields) -> JsonObject:
        number, name = block.required_text("id"), block.required_text("name")
        arguments = block.raw("input")
        if not isinstance(arguments, dict):
            raise block.wrong("input", "must be an object")
        self._names[number] = name
        return {
            "type": "function",
            "id": number,
            "function": {"name": name, "arguments": arguments},
        }

    def _user(self, message: Fields) -> list[JsonObject]:
        """Return results first: they belong to the calls before."""
        blocks = _blocks(message, "content")
        results = [block for block in blocks if block.text("type") == "tool_result"]
        texts = [_text(block) for block in blocks if block.text("type") != "tool_result"]
        turns = [self._result(block) for block in results]
        if texts or not results:
            turns.append({"role": "user", "content": BETWEEN_BLOCKS.join(texts)})
        return turns

    def _result(self, block: Fields) -> JsonObject:
        number = block.required_text("tool_use_id")
        text = BETWEEN_BLOCKS.join(_texts(block, "content"))
        if block.boolean("is_error"):
            text = f"Error: {text}"
        turn: JsonObject = {"role": "tool", "content": text, "tool_call_id": number}
        return turn | given(name=self._names.get(number))


def _texts(fields: Fields, name: str) -> list[str]:
    """Return the texts of a field that may hold nothing else."""
    return [_text(block) for block in _blocks(fields, name)]


def _blocks(fields: Fields, name: str) -> list[Fields]:
    """Return a list of blocks; a plain text is one, null is none."""
    value = fields.raw(name)
    if isinstance(value, str):
        return [Fields({"type": "text", "text": value}, fields.path(name) + ".")]
    if value is not None and not isinstance(value, list):
        raise fields.wrong(name, "must be a string or a list of blocks")
    return [
        Fields(block, f"{fields.path(name)}[{place}].")
        for place, block in enumerate(fields.objects(name))
    ]


def _text(block: Fields) -> str:
    kind = block.text("type")
    if kind == "document" and block.inner("source").text("type") == "text":
        title = block.text("title")
        return (f"{title}\n" if title else "") + block.inner("source").required_text("data")
    if kind != "text":
        raise _unreadable(block, kind)
    text = block.text("text")
    if text is None:
        raise block.wrong("text", "is required")
    return text


def _unreadable(block: Fields, kind: str | None) -> UsageError:
    if kind == "image":
        return block.wrong("type", "is image, which this model cannot read")
    return block.wrong("type", f"is {brief(kind)}, which is not supported here")


def _without_billing(texts: list[str]) -> list[str]:
    kept = [
        text.partition("\n")[2].lstrip("\n") if text.startswith(BILLING) else text for text in texts
    ]
    return [text for text in kept if text]
