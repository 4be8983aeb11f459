"""Anthropic's messages, converted to what chat templates take.

One of Anthropic's messages may have texts, thoughts, tool calls and tool results, and consecutive
messages may have one role. Templates require a message for each result, alternating roles, and
system messages at the head only.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from localrun.chat.media_marks import joined
from localrun.server.parsing.conversation import message_list
from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.media import part_of
from localrun.server.parsing.role_order import BETWEEN_BLOCKS, given, reminder, with_head

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.media import Part

# Claude Code begins its system prompt with this line, which differs in each request: with it no
# prompt would begin like one in the prefix cache
BILLING = "x-anthropic-billing-header:"
UNREADABLE = {"redacted_thinking"}  # encrypted by Anthropic


def conversation(fields: Fields) -> tuple[JsonObject, ...]:
    """Return the messages of a body, with ``system`` as the first one.

    Raises:
        UsageError: a message is malformed, or has content that is not text.
    """
    messages = [
        Fields(message, f"messages[{place}].")
        for place, message in enumerate(message_list(fields, "messages"))
    ]
    head = list(takewhile(lambda message: message.raw("role") == "system", messages))
    reader = _MessageReader()
    turns = [turn for message in messages[len(head) :] for turn in reader.turns(message)]
    if not turns or turns[-1].get("tool_calls"):
        raise fields.wrong("messages", "must end with a user message, or with text of an answer")
    system = _texts(fields, "system") + [
        text for message in head for text in _texts(message, "content")
    ]
    return with_head(_without_billing(system), turns)


class _MessageReader:
    """Reader of messages in their order: a tool result needs the name of the earlier call."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # of tools, by the id of a call

    def turns(self, message: Fields) -> list[JsonObject]:
        """Return the messages that one of Anthropic's messages makes."""
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
        """Return the tool results first: they belong to the calls before."""
        blocks = _blocks(message, "content")
        results = [block for block in blocks if block.text("type") == "tool_result"]
        parts = [_part(block) for block in blocks if block.text("type") != "tool_result"]
        turns = [self._result(block) for block in results]
        if parts or not results:
            turns.append({"role": "user", **joined(parts, BETWEEN_BLOCKS)})
        return turns

    def _result(self, block: Fields) -> JsonObject:
        number = block.required_text("tool_use_id")
        parts = [_part(one) for one in _blocks(block, "content")]
        content = joined(parts, BETWEEN_BLOCKS)
        if block.boolean("is_error"):
            content["content"] = f"Error: {content['content']}"
        turn: JsonObject = {"role": "tool", **content, "tool_call_id": number}
        return turn | given(name=self._names.get(number))


def _texts(fields: Fields, name: str) -> list[str]:
    """Return the texts of a field that allows text blocks only."""
    return [_text(block) for block in _blocks(fields, name)]


def _blocks(fields: Fields, name: str) -> list[Fields]:
    """Return the blocks of a field; a string is one block, null is none."""
    value = fields.raw(name)
    if isinstance(value, str):
        return [Fields({"type": "text", "text": value}, fields.path(name) + ".")]
    if value is not None and not isinstance(value, list):
        raise fields.wrong(name, "must be a string or a list of blocks")
    return [
        Fields(block, f"{fields.path(name)}[{place}].")
        for place, block in enumerate(fields.objects(name))
    ]


def _part(block: Fields) -> Part:
    """Return the text of a block, or its medium."""
    return part_of(block, _text)


def _text(block: Fields) -> str:
    kind = block.text("type")
    if kind != "text":
        raise block.wrong("type", f"is {brief(kind)}, which is not supported here")
    text = block.text("text")
    if text is None:
        raise block.wrong("text", "is required")
    return text


def _without_billing(texts: list[str]) -> list[str]:
    kept = [
        text.partition("\n")[2].lstrip("\n") if text.startswith(BILLING) else text for text in texts
    ]
    return [text for text in kept if text]
