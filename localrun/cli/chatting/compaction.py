"""Compaction of a conversation: the model's summary in the place of the older turns.

The last `NUM_KEPT` turns stay as they are; the system prompt is no message and stays too. If an
over-long result of a tool is the reason, it is shortened first. Older turns that are too long for
one request are summarized piece by piece: each request has the summary so far and the next piece.

    limits of a context of 2,048 tokens     piece 819, summary so far 307, new summary 307

Pure: takes messages and callables, knows neither terminal nor server. Invariants: the messages that
are given are never changed; every request for a summary and its answer fit the context.
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
BYTES_PER_TOKEN = 3.0
LEAST_BYTES_PER_TOKEN, MOST_BYTES_PER_TOKEN = 1.0, 4.0
MAX_PIECES = 8  # longer text is shortened
RESULT_SHARE = 0.2  # of the context: a longer result of a tool is over-long
TEXT_SHARE = 0.4  # of the context: text that is summarized at once
RECENT_SHARE = 0.6  # of the context: longer turns that stay get shorter results
REQUEST_SHARE = 0.8  # of the context: a longer request gets shorter results
LEAST_RESULT = 256  # bytes
SUMMARY_SHARE = 0.15  # of the context
LEAST_SUMMARY, MOST_SUMMARY = 64, 1024  # tokens
GAP_BYTES = 64  # of the note about what was left out
CONTINUATION, CONTINUATION_MASK = 0x80, 0xC0  # bytes of UTF-8 within a character
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
    bytes_per_token: float = BYTES_PER_TOKEN  # of this conversation

    @property
    def least_bytes(self) -> int:
        """Return the fewest bytes of older turns that are summarized."""
        return int(self.num_context * self.least_share * self.bytes_per_token)

    @property
    def result_bytes(self) -> int:
        """Return the most bytes of a tool's result."""
        return max(LEAST_RESULT, int(self.num_context * RESULT_SHARE * self.bytes_per_token))

    @property
    def text_bytes(self) -> int:
        """Return the most bytes that one request summarizes."""
        return max(256, int(self.num_context * TEXT_SHARE * self.bytes_per_token))

    @property
    def num_predict(self) -> int:
        """Return the most tokens of a summary."""
        return max(LEAST_SUMMARY, min(MOST_SUMMARY, int(self.num_context * SUMMARY_SHARE)))

    @property
    def recent_bytes(self) -> int:
        """Return the most bytes of the turns that stay, without that results are shortened."""
        return int(self.num_context * RECENT_SHARE * self.bytes_per_token)

    @property
    def request_bytes(self) -> int:
        """Return the most bytes of the messages of a request, without shorter results."""
        return int(self.num_context * REQUEST_SHARE * self.bytes_per_token)

    @property
    def summary_bytes(self) -> int:
        """Return the most bytes of a summary, if it is no denser than the conversation."""
        return int(self.num_predict * self.bytes_per_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """Conversation after a compaction, and what it replaced."""

    messages: list[Message]
    num_turns: int  # that the summary replaces
    num_shortened: int  # results of tools
    replaced: str  # text that the summary replaces; "" if only results were shortened
    summary: str
    is_too_long: bool = False  # the turns that stay take most of the context


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
    if not older or len(text.encode("utf-8", "replace")) < limits.least_bytes:
        older, recent, text = [], shortened, ""
    recent, num_more = _shorten_until(recent, limits.recent_bytes, limits)
    if not (older or num_shortened or num_more):
        return None
    summary = _summary(older, limits, summarize) if older else ""
    if older and not summary:
        raise BackendError("the model wrote no summary", hint="/clear   begins a new conversation")
    head = [{"role": "summary", "content": summary}] if older else []
    return Compacted(
        messages=[*head, *recent],
        num_turns=sum(one["role"] == "user" for one in older),
        num_shortened=num_shortened + num_more,
        replaced=text,
        summary=summary,
        is_too_long=_num_bytes(recent) > limits.recent_bytes,
    )


def fit_results(messages: Sequence[Message], limits: CompactionLimits) -> list[Message]:
    """Return the messages of a request, with shorter results of tools if they are too long.

    For the rounds of one turn, between which nothing is summarized.
    """
    return _shorten_until(list(messages), limits.request_bytes, limits)[0]


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
            message = {**message, "content": shorten(text, limit_bytes - GAP_BYTES)}  # noqa: PLW2901 - a copy
            num_shortened += 1
        changed.append(message)
    return changed, num_shortened


def transcript_text(messages: Sequence[Message]) -> str:
    """Return messages as text, each with the name of its author."""
    return "\n\n".join(
        f"{NAMES.get(one['role'], one['role'])}: {_text_of(one)}" for one in messages
    )


def summary_request(text: str, before: str = "") -> list[Message]:
    """Return the messages that ask for a summary of a text, and of what was before it."""
    earlier = f"{NAMES['summary']}: {before}\n\n" if before else ""
    conversation = f"<conversation>\n{earlier}{text}\n</conversation>"
    return [{"role": "user", "content": f"{INSTRUCTION}\n\n{conversation}"}]


def pieces_of(text: str, limit_bytes: int) -> list[str]:
    """Return a text in pieces of at most so many bytes, cut between lines if possible."""
    pieces: list[str] = []
    data = text.encode("utf-8", "replace")
    start = 0
    while start < len(data):
        end = min(len(data), start + limit_bytes)
        if end < len(data):
            cut = data.rfind(b"\n", start + limit_bytes // 2, end)
            end = cut + 1 if cut > 0 else _character_start(data, end, start)
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def bytes_per_token(messages: Sequence[Message], num_tokens: int) -> float:
    """Return how many bytes of a conversation are a token, as its last request has shown."""
    num_bytes = _num_bytes(messages)
    measured = num_bytes / num_tokens if num_tokens and num_bytes else BYTES_PER_TOKEN
    return min(MOST_BYTES_PER_TOKEN, max(LEAST_BYTES_PER_TOKEN, measured))


def _summary(
    older: Sequence[Message],
    limits: CompactionLimits,
    summarize: Callable[[list[Message], int], str],
) -> str:
    """Return the model's summary of older turns, which include an earlier summary first."""
    before = ""
    if older[0]["role"] == "summary":
        before, older = str(older[0]["content"]), older[1:]
    text = shorten(transcript_text(older), MAX_PIECES * limits.text_bytes - GAP_BYTES)
    num_text = int(len(text + before) / limits.bytes_per_token)
    num_predict = min(limits.num_predict, max(LEAST_SUMMARY, num_text // 2))
    for piece in pieces_of(text, limits.text_bytes):
        before = shorten(before, limits.summary_bytes)
        before = summarize(summary_request(piece, before), num_predict).strip() or before
    return before


def _shorten_until(
    messages: list[Message], most_bytes: int, limits: CompactionLimits
) -> tuple[list[Message], int]:
    """Shorten the results of tools until the messages have few enough bytes, if they can."""
    limit_bytes, most = limits.result_bytes, 0
    while _num_bytes(messages) > most_bytes and limit_bytes > LEAST_RESULT:
        limit_bytes = max(LEAST_RESULT, limit_bytes // 2)
        messages, num_shortened = shorten_results(messages, limit_bytes)
        most = max(most, num_shortened)
    return messages, most


def _num_bytes(messages: Sequence[Message]) -> int:
    return sum(len(_text_of(one).encode("utf-8", "replace")) for one in messages)


def _character_start(data: bytes, end: int, start: int) -> int:
    """Return an offset not behind ``end`` that divides no character."""
    while end > start + 1 and data[end] & CONTINUATION_MASK == CONTINUATION:
        end -= 1
    return end


def _text_of(message: Message) -> str:
    text = str(message.get("content") or "")
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    lines = [f"(calls {one.get('name')} {json.dumps(one.get('arguments'))})" for one in calls]
    return "\n".join(part for part in (text, *lines) if part)
