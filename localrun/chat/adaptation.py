"""Adaptation of a conversation to one template: names of reasoning, system messages, open turns.

Templates differ in what they read and what they refuse. A template's behaviour is found by
rendering short probes, once for each template and only if a conversation depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from localrun.errors import UsageError

Message = Mapping[str, Any]
REASONING = "reasoning_content"
OTHER_REASONING_NAMES = ("reasoning", "thinking", "thought")  # that templates read
_SYSTEM = "zqsystem"
_QUESTION = "zquser"
_USER: Message = {"role": "user", "content": _QUESTION}
_ANSWER: Message = {"role": "assistant", "content": "zqanswer"}
_INSTRUCTION: Message = {"role": "system", "content": _SYSTEM}
_PROBES = {
    "first": [_INSTRUCTION, _USER],
    "later": [_USER, _ANSWER, _INSTRUCTION, _USER],
}


class Render(Protocol):
    """Rendering of messages by one chat template, exactly as they are given."""

    def __call__(
        self,
        messages: Sequence[Message],
        *,
        options: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """Return the prompt of the messages."""


class Adaptation:
    """What one template accepts, found by probes and kept."""

    def __init__(self, source: str) -> None:
        self._takes_system_at: dict[str, bool] = {}  # by the key of `_PROBES`
        self._reasoning_names = [
            name for name in OTHER_REASONING_NAMES if re.search(rf"\b{name}\b", source)
        ]

    def adapted(
        self, messages: Sequence[Message], render: Render, check: Callable[[], None]
    ) -> list[Message]:
        """Return the conversation with reasoning and system messages as the template reads them.

        The text of a system message that the template refuses or ignores goes into a user message.
        ``check`` raises if a limit may have stopped a probe: such a probe proves nothing.
        """
        adapted = [self._with_reasoning_names(message) for message in messages]
        is_first = bool(adapted) and _is_system(adapted[0])
        first, others = adapted[:is_first], adapted[is_first:]
        if any(map(_is_system, others)) and not self._takes_system("later", render, check):
            others = _moved_into_users(others)
        if is_first and not self._takes_system("first", render, check):
            return _moved_into_users([*first, *others])
        return [*first, *others]

    def _takes_system(self, position: str, render: Render, check: Callable[[], None]) -> bool:
        if position not in self._takes_system_at:
            takes_system = _shows_system(render, _PROBES[position])
            check()
            self._takes_system_at[position] = takes_system
        return self._takes_system_at[position]

    def _with_reasoning_names(self, message: Message) -> Message:
        reasoning = message.get(REASONING)
        if not reasoning or not self._reasoning_names:
            return message
        return {**dict.fromkeys(self._reasoning_names, reasoning), **message}


def with_content_in_reasoning(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the text before a tool call moved to the end of the reasoning.

    For templates that refuse a message with reasoning, text and calls (gpt-oss).
    """
    return [_with_content_in_reasoning(message) for message in messages]


def opened_turn(prompt: str, render: Render, options: Mapping[str, Any]) -> str:
    """Return the prompt with the assistant's turn opened, if the prompt ends with a closed turn.

    Gemma 4 writes a call, its result and the text of the call's message into one turn, closes it,
    and then treats the result as the end of an open turn: the model would have to open its turn.
    """
    try:
        closed = render([_USER], options=options, add_generation_prompt=False)
        with_open_turn = render([_USER], options=options, add_generation_prompt=True)
    except UsageError:  # the template requires other messages
        return prompt
    end = closed.rpartition(_QUESTION)[2]
    if not end.strip() or not with_open_turn.startswith(closed) or not prompt.endswith(end):
        return prompt
    return prompt + with_open_turn.removeprefix(closed)


def _shows_system(render: Render, probe: Sequence[Message]) -> bool:
    """Return whether the template writes a system message if it writes a user message.

    True as well if the template writes neither, or also refuses the probe without the system
    message: then the probe proves nothing.
    """
    text = _rendered(render, probe)
    if text is None:
        return _rendered(render, [part for part in probe if not _is_system(part)]) is None
    return _SYSTEM in text or _QUESTION not in text


def _rendered(render: Render, messages: Sequence[Message]) -> str | None:
    """Return the prompt of the messages, or None if the template refuses them."""
    try:
        return render(messages)
    except UsageError:
        return None


def _with_content_in_reasoning(message: Message) -> Message:
    reasoning, content = message.get(REASONING), message.get("content")
    if not (reasoning and content and message.get("tool_calls")):
        return message
    merged = f"{reasoning}\n\n{content}"
    names = [name for name in (REASONING, *OTHER_REASONING_NAMES) if name in message]
    return {**message, **dict.fromkeys(names, merged), "content": ""}


def _is_system(message: Message) -> bool:
    return message.get("role") == "system"


def _moved_into_users(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each system text before the next user message's text.

    Texts behind the last user message are appended to it, or become a user message.
    """
    moved: list[Message] = []
    system_texts: list[str] = []
    for message in messages:
        if _is_system(message):
            system_texts.append(str(message.get("content") or ""))
        elif message.get("role") == "user" and system_texts:
            moved.append(_joined(message, [*system_texts, _text(message)]))
            system_texts = []
        else:
            moved.append(message)
    if system_texts and moved and moved[-1].get("role") == "user":
        moved[-1] = _joined(moved[-1], [_text(moved[-1]), *system_texts])
    elif system_texts:
        moved.append(_joined({"role": "user"}, system_texts))
    return moved


def _joined(message: Message, texts: Sequence[str]) -> Message:
    return {**message, "content": "\n\n".join(filter(None, texts))}


def _text(message: Message) -> str:
    return str(message.get("content") or "")
