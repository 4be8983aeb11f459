"""Adaptation of a conversation to one template: names of thoughts, system messages.

Templates differ in what they read and what they refuse. What a template does is found by
rendering short probes, once a template and only when a conversation depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localrun.errors import UsageError

Message = Mapping[str, Any]
THOUGHT = "reasoning_content"
OTHER_THOUGHT_NAMES = ("reasoning", "thinking", "thought")  # that templates read it by
_SYSTEM = "zqsystem"
_USER: Message = {"role": "user", "content": "zquser"}
_ANSWER: Message = {"role": "assistant", "content": "zqanswer"}
_INSTRUCTION: Message = {"role": "system", "content": _SYSTEM}
_PROBES = {
    "first": [_INSTRUCTION, _USER],
    "later": [_USER, _ANSWER, _INSTRUCTION, _USER],
}


Render = Callable[[Sequence[Message]], str]


class Adaptation:
    """What one template reads."""

    def __init__(self, source: str) -> None:
        self._takes: dict[str, bool] = {}  # system messages, by where they stand
        self._thought_names = [
            name for name in OTHER_THOUGHT_NAMES if re.search(rf"\b{name}\b", source)
        ]

    def adapted(
        self, messages: Sequence[Message], render: Render, check: Callable[[], None]
    ) -> list[Message]:
        """Return the conversation with thoughts and system messages where the template reads them.

        The text of a system message that the template refuses or ignores goes into a user message.
        ``render`` renders a conversation exactly as it is given; ``check`` raises if a probe may
        have been stopped, which proves nothing.
        """
        adapted = [self._with_thought_names(message) for message in messages]
        is_first = bool(adapted) and _is_system(adapted[0])
        first, others = adapted[:is_first], adapted[is_first:]
        if any(map(_is_system, others)) and not self._takes_system("later", render, check):
            others = _moved_into_users(others)
        if is_first and not self._takes_system("first", render, check):
            return _moved_into_users([*first, *others])
        return [*first, *others]

    def _takes_system(self, place: str, render: Render, check: Callable[[], None]) -> bool:
        if place not in self._takes:
            found = _shows_system(render, _PROBES[place])
            check()
            self._takes[place] = found
        return self._takes[place]

    def _with_thought_names(self, message: Message) -> Message:
        thought = message.get(THOUGHT)
        if not thought or not self._thought_names:
            return message
        return {**dict.fromkeys(self._thought_names, thought), **message}


def with_content_in_thoughts(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the text before a call as the end of the thought before it.

    For templates that refuse a message with a thought, a text and calls (gpt-oss).
    """
    return [_with_content_in_thought(message) for message in messages]


def _shows_system(render: Render, probe: Sequence[Message]) -> bool:
    """Return whether the template writes a system message as it writes a user's.

    A template that writes neither, or refuses the same without, says nothing about them.
    """
    text = _rendered(render, probe)
    if text is None:
        return _rendered(render, [one for one in probe if not _is_system(one)]) is None
    return _SYSTEM in text or str(_USER["content"]) not in text


def _rendered(render: Render, messages: Sequence[Message]) -> str | None:
    """Return the conversation rendered, None if the template refuses it."""
    try:
        return render(messages)
    except UsageError:
        return None


def _with_content_in_thought(message: Message) -> Message:
    thought, content = message.get(THOUGHT), message.get("content")
    if not (thought and content and message.get("tool_calls")):
        return message
    whole = f"{thought}\n\n{content}"
    names = [name for name in (THOUGHT, *OTHER_THOUGHT_NAMES) if name in message]
    return {**message, **dict.fromkeys(names, whole), "content": ""}


def _is_system(message: Message) -> bool:
    return message.get("role") == "system"


def _moved_into_users(messages: Sequence[Message]) -> list[Message]:
    """Put system messages before the text of the next user message, else behind the last one's."""
    moved: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if _is_system(message):
            waiting.append(str(message.get("content") or ""))
        elif message.get("role") == "user" and waiting:
            moved.append(_joined(message, [*waiting, _text(message)]))
            waiting = []
        else:
            moved.append(message)
    if waiting and moved and moved[-1].get("role") == "user":
        moved[-1] = _joined(moved[-1], [_text(moved[-1]), *waiting])
    elif waiting:
        moved.append(_joined({"role": "user"}, waiting))
    return moved


def _joined(message: Message, texts: Sequence[str]) -> Message:
    return {**message, "content": "\n\n".join(filter(None, texts))}


def _text(message: Message) -> str:
    return str(message.get("content") or "")
