"""Compaction of a conversation: the model's summary in the place of the older turns.

The last `NUM_KEPT` turns stay as they are; the system prompt is no message and stays too. If an
over-long result of a tool is the reason, it is shortened first. Pure: takes messages and callables,
knows neither terminal nor server. Invariant: the messages that are given are never changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.agent.shortening import shorten
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Message = dict[str, Any]
NUM_KEPT = 3  # turns
BYTES_PER_TOKEN = 3
RESULT_SHARE = 0.2  # of the context: a longer result of a tool is over-long
TEXT_SHARE = 0.5  # of the context: text that is summarized at once
SUMMARY_SHARE = 0.15  # of the context
LEAST_SUMMARY, MOST_SUMMARY = 64, 1024  # tokens
NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool result", "summary": "Earlier"}
INSTRUCTION = (
    "Summarize the conversation below for yourself, so that you can go on with it: facts, names, "
    "numbers, decisions, open questions, what the user wants. Write the summary only."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionLimits:
    """Sizes that follow from the context."""

    num_context: int  # tokens
    least_share: float = 0.0  # of the context: fewer older turns stay as they are

    @property
    def least_bytes(self) -> int:
        """Return the fewest bytes of older turns that are summarized."""
        return int(self.num_context * self.least_share * BYTES_PER_TOKEN)

    @property
    def result_bytes(self) -> int:
        """Return the most bytes of a tool's result."""
        return max(256, int(self.num_context * RESULT_SHARE * BYTES_PER_TOKEN))

    @property
    def text_bytes(self) -> int:
        """Return the most bytes that one request summarizes."""
        return max(512, int(self.num_context * TEXT_SHARE * BYTES_PER_TOKEN))

    @property
    def num_predict(self) -> int:
        """Return the most tokens of a summary."""
        return max(LEAST_SUMMARY, min(MOST_SUMMARY, int(self.num_context * SUMMARY_SHARE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """Conversation after a compaction, and what it replaced."""

    messages: list[Message]
    num_turns: int  # that the summary replaces
    num_shortened: int  # results of tools
    replaced: str  # text that the summary replaces; "" if only results were shortened
    summary: str


def compact(
    messages: Sequence[Message],
    limits: CompactionLimits,
    summarize: Callable[[list[Message], int], str],
) -> Compacted | None:
    """Return the compacted conversation, None if there is nothing to compact.

    ``summarize`` answers messages with at most so many tokens.

    Raises:
        BackendError: the summary is empty.
        LocalrunError: ``summarize`` failed.
    """
    shortened, num_shortened = shorten_results(messages, limits.result_bytes)
    older, recent = split_turns(shortened)
    text = transcript_text(older)
    if not older or len(text) < limits.least_bytes:
        if not num_shortened:
            return None
        return Compacted(
            messages=shortened, num_turns=0, num_shortened=num_shortened, replaced="", summary=""
        )
    request = summary_request(shorten(text, limits.text_bytes))
    summary = summarize(request, limits.num_predict).strip()
    if not summary:
        raise BackendError("the model wrote no summary", hint="/clear   begins a new conversation")
    return Compacted(
        messages=[{"role": "summary", "content": summary}, *recent],
        num_turns=sum(one["role"] == "user" for one in older),
        num_shortened=num_shortened,
        replaced=text,
        summary=summary,
    )


def split_turns(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Return the older messages and the last turns; of few turns, fewer stay, at least one."""
    starts = [index for index, one in enumerate(messages) if one["role"] == "user"]
    num_kept = min(NUM_KEPT, len(starts) - 1)
    if num_kept < 1:
        return [], list(messages)
    start = starts[-num_kept]
    return list(messages[:start]), list(messages[start:])


def shorten_results(messages: Sequence[Message], limit_bytes: int) -> tuple[list[Message], int]:
    """Return the messages with shorter results of tools, and the number of those."""
    changed: list[Message] = []
    num_shortened = 0
    for message in messages:
        text = str(message.get("content") or "")
        if message["role"] == "tool" and len(text.encode("utf-8", "replace")) > limit_bytes:
            message = {**message, "content": shorten(text, limit_bytes)}  # noqa: PLW2901 - a copy
            num_shortened += 1
        changed.append(message)
    return changed, num_shortened


def transcript_text(messages: Sequence[Message]) -> str:
    """Return messages as text, each with the name of its author."""
    return "\n\n".join(
        f"{NAMES.get(one['role'], one['role'])}: {_text_of(one)}" for one in messages
    )


def summary_request(text: str) -> list[Message]:
    """Return the messages that ask for a summary."""
    return [
        {"role": "user", "content": f"{INSTRUCTION}\n\n<conversation>\n{text}\n</conversation>"}
    ]


def _text_of(message: Message) -> str:
    text = str(message.get("content") or "")
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    lines = [f"(calls {one.get('name')} {json.dumps(one.get('arguments'))})" for one in calls]
    return "\n".join([text, *lines]).strip()
