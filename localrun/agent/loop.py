"""Rounds of one turn: the model answers, its tool calls are executed, and it answers again.

`run_rounds` sends nothing itself: ``ask`` returns the model's message for a list of messages.
Invariants: each call of an answer gets exactly one message of role "tool", also if it is unknown,
refused or stopped; the size of all results of a turn is bounded.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from localrun.agent.permissions import Decision, PermissionVerdict
from localrun.agent.shortening import shorten
from localrun.agent.toolbox import ToolError, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.agent.permissions import Permissions
    from localrun.agent.toolbox import AgentTool, Toolbox

Message = dict[str, Any]  # of Ollama's /api/chat
MAX_ROUNDS = 100
MIN_ROUNDS = 8
TOKENS_PER_ROUND = 256  # of the context: a round takes about as many
MAX_CALLS = 32  # in one answer
BYTES_PER_TOKEN = 4
LARGEST_RESULT, LARGEST_TOTAL = 64 * 1024, 1024 * 1024  # bytes
LONGEST_ARGUMENTS = 1024 * 1024  # characters of JSON
STOPPED = "The user stopped this call."
NOT_EXECUTED = "Not executed: the user stopped an earlier call."
REFUSED = "The user refused this call. Do not repeat it; ask the user what to do instead."
READ_ONLY = "Not executed: this chat is in read-only mode. Describe the change instead."
NEVER = "Not executed: the user does not allow this tool in this chat."
TOO_MANY_CALLS = f"Not executed: an answer may have at most {MAX_CALLS} calls."
TOO_MANY_BYTES = "Not executed: the results of this turn are too large. Answer with what you have."


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLimits:
    """Limits of one turn."""

    num_rounds: int = MAX_ROUNDS
    result_bytes: int = LARGEST_RESULT
    total_bytes: int = LARGEST_TOTAL

    @classmethod
    def for_context(cls, num_tokens: int) -> RoundLimits:
        """Return limits for a context window: a result takes at most a quarter of it."""
        if num_tokens <= 0:
            return cls()
        size_bytes = num_tokens * BYTES_PER_TOKEN
        return cls(
            num_rounds=min(MAX_ROUNDS, max(MIN_ROUNDS, num_tokens // TOKENS_PER_ROUND)),
            result_bytes=min(LARGEST_RESULT, size_bytes // 4),
            total_bytes=min(LARGEST_TOTAL, 2 * size_bytes),
        )


class RoundsEnd(StrEnum):
    """Why a turn has ended."""

    ANSWERED = "answered"
    ROUNDS = "rounds"  # the model called tools in too many rounds
    BYTES = "bytes"  # the model called tools although the results were too large


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedCall:
    """A call that the model wrote; ``problem`` says why it cannot be executed."""

    name: str
    call_id: str = ""
    arguments: dict[str, Any]
    tool: AgentTool | None = None
    diff: str | None = None  # of an edit, before it is done
    problem: str = ""
    is_asked: bool = False  # the user was asked, and has seen the call


class Approver(Protocol):
    """The user."""

    def approve(self, calls: Sequence[ProposedCall]) -> Sequence[Decision]:
        """Return a decision for each call; blocks. One question for all calls of an answer."""


class RoundObserver(Protocol):
    """What a turn reports while it runs."""

    def keep(self, message: Message) -> None:
        """Take a new message, of the model or of a tool."""

    def begin_call(self, call: ProposedCall) -> None:
        """Take a call that is about to be executed."""

    def end_call(self, call: ProposedCall, result: ToolResult) -> None:
        """Take the result of a call, also of one that was not executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that decides about calls: tools, permissions, and the user."""

    toolbox: Toolbox
    permissions: Permissions
    approver: Approver
    observer: RoundObserver


def run_rounds(
    ask: Callable[[list[Message]], Message],
    desk: Desk,
    messages: Sequence[Message],
    limits: RoundLimits,
) -> RoundsEnd:
    """Ask the model and execute its calls until it calls no tool; blocks.

    ``ask`` gets all messages so far. KeyboardInterrupt during a call passes through after all
    calls of the answer have got a result.
    """
    history, num_bytes = list(messages), 0
    for _ in range(limits.num_rounds):
        message = ask(history)
        desk.observer.keep(message)
        history.append(message)
        calls = proposed_calls(message, desk.toolbox)
        if not calls:
            return RoundsEnd.ANSWERED
        if num_bytes > limits.total_bytes:
            _execute(desk, [_failed(call, TOO_MANY_BYTES) for call in calls], limits, history)
            return RoundsEnd.BYTES
        num_bytes += _execute(desk, calls, limits, history)
    return RoundsEnd.ROUNDS


def proposed_calls(message: Message, toolbox: Toolbox) -> list[ProposedCall]:
    """Return the calls of a message of the model, with what is wrong with each."""
    written = message.get("tool_calls") or []
    calls = [_proposed(one, toolbox) for one in written[:MAX_CALLS]]
    return calls + [_failed(_read(one), TOO_MANY_CALLS) for one in written[MAX_CALLS:]]


def _proposed(written: object, toolbox: Toolbox) -> ProposedCall:
    call = _read(written)
    if call.problem:
        return call
    tool = toolbox.find(call.name)
    if tool is None:
        return _failed(call, toolbox.unknown(call.name))
    return replace(call, tool=tool)


def _failed(call: ProposedCall, problem: str) -> ProposedCall:
    return replace(call, problem=problem)


def _read(written: object) -> ProposedCall:
    """Read a call as the server sent it; arguments may be an object or its JSON text."""
    call = written if isinstance(written, dict) else {}
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments, problem = _read_arguments(function.get("arguments") or {})
    return ProposedCall(
        name=str(function.get("name") or ""),
        call_id=str(call.get("id") or ""),
        arguments=arguments,
        problem=problem,
    )


def _read_arguments(arguments: object) -> tuple[dict[str, Any], str]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments[:LONGEST_ARGUMENTS])
        except (ValueError, RecursionError) as error:
            return {}, f"The arguments are not JSON: {error}. Write one JSON object."
    if not isinstance(arguments, dict):
        return {}, "The arguments are not a JSON object."
    return arguments, ""


def _execute(
    desk: Desk, calls: list[ProposedCall], limits: RoundLimits, history: list[Message]
) -> int:
    """Execute the calls of one answer; return the bytes of their results."""
    num_bytes, num_begun, num_before = 0, 0, len(history)
    try:
        calls = _decide(desk, calls)
        for call in calls:
            num_begun += 1
            num_bytes += _record(desk, call, _executed(desk, call, limits), history)
    except KeyboardInterrupt:
        for number, call in list(enumerate(calls))[len(history) - num_before :]:
            text = STOPPED if number < num_begun else NOT_EXECUTED
            _record(desk, call, ToolResult(text=text, is_error=True), history)
        raise
    return num_bytes


def _executed(desk: Desk, call: ProposedCall, limits: RoundLimits) -> ToolResult:
    if call.problem:
        return ToolResult(text=call.problem, is_error=True)
    cancel = threading.Event()
    try:
        desk.observer.begin_call(call)
        result = desk.toolbox.call(call.name, call.arguments, cancel)
    except KeyboardInterrupt:
        cancel.set()
        raise
    return ToolResult(
        text=shorten(result.text, limits.result_bytes),
        is_error=result.is_error,
        summary=result.summary,
        diff=result.diff,
    )


def _record(desk: Desk, call: ProposedCall, result: ToolResult, history: list[Message]) -> int:
    message: Message = {"role": "tool", "content": result.text, "tool_name": call.name}
    if call.call_id:
        message["tool_call_id"] = call.call_id
    history.append(message)
    desk.observer.keep(message)
    desk.observer.end_call(call, result)
    return len(result.text.encode("utf-8", "replace"))


def _decide(desk: Desk, calls: list[ProposedCall]) -> list[ProposedCall]:
    """Return the calls, with a problem for each that is not allowed."""
    judged = [_judged(desk, call) for call in calls]
    open_calls = [call for call, is_open in judged if is_open]
    decisions = iter(desk.approver.approve(open_calls) if open_calls else ())
    decided: list[ProposedCall] = []
    for call, is_open in judged:
        decision = next(decisions, Decision.REFUSE) if is_open else Decision.ONCE
        if is_open and call.tool is not None:
            desk.permissions.remember(call.tool, call.arguments, decision)
        is_refused = decision in {Decision.REFUSE, Decision.NEVER}
        decided.append(_failed(call, REFUSED) if is_refused else call)
    return decided


def _judged(desk: Desk, call: ProposedCall) -> tuple[ProposedCall, bool]:
    """Return a call with its diff or its problem, and whether the user must be asked."""
    if call.problem or call.tool is None:
        return call, False
    verdict = desk.permissions.verdict(call.tool, call.arguments)
    if verdict is PermissionVerdict.REFUSE:
        is_never = desk.permissions.is_never(call.tool)
        return _failed(call, NEVER if is_never else READ_ONLY), False
    try:
        diff = desk.toolbox.preview(call.name, call.arguments)
    except ToolError as error:
        return _failed(call, str(error)), False
    is_asked = verdict is PermissionVerdict.ASK
    return replace(call, diff=diff, is_asked=is_asked), is_asked
