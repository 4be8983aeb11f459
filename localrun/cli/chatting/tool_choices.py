"""Question about the tool calls of one answer: what would be done, and what the user decides.

Everything that a call would do is printed before the question: a command in full, an edit as its
diff, other arguments as JSON. Text of the model is printed without characters that control or
reorder the terminal. Invariant: without an answer every call is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.agent.permissions import Decision
from localrun.agent.toolbox import Effect
from localrun.cli.chatting.prompt.composer import KeyChoice
from localrun.cli.chatting.screen.diffs import render_diff
from localrun.cli.output import Output
from localrun.terminal import harmless_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.agent.loop import ProposedCall
    from localrun.cli.chatting.prompt.composer import Composer
    from localrun.cli.rendering.look import TerminalLook

LONGEST_LINE = 160  # characters of a call in one line
LONGEST_SHOWN = 20_000  # characters of a call that is asked about
EACH = "s"
KEYS = {
    "y": Decision.ONCE,
    "e": Decision.EXACT,
    "t": Decision.TOOL,
    "v": Decision.NEVER,
    "n": Decision.REFUSE,
}
ONE_CALL = (
    KeyChoice("y", "once"),
    KeyChoice("e", "always exactly this"),
    KeyChoice("t", "always this tool"),
    KeyChoice("v", "never"),
    KeyChoice("n", "no"),
)
SEVERAL_CALLS = (
    KeyChoice("y", "all, once"),
    KeyChoice(EACH, "one by one"),
    KeyChoice("e", "always exactly these"),
    KeyChoice("t", "always these tools"),
    KeyChoice("v", "never"),
    KeyChoice("n", "no"),
)
QUESTIONS = {Effect.EDIT: "Edit this file?", Effect.COMMAND: "Run this command?"}


class ToolQuestions:
    """The user as an `Approver`."""

    def __init__(self, composer: Composer, look: TerminalLook) -> None:
        self._composer = composer
        self._look = look
        self._output = Output()

    def approve(self, calls: Sequence[ProposedCall]) -> Sequence[Decision]:
        """Return a decision for each call; blocks. One question for all."""
        for call in calls:
            self._show(call)
        if len(calls) == 1:
            return [self._choose(calls[0])]
        question = f"Allow these {len(calls)} calls?"
        key = self._composer.choose(question, SEVERAL_CALLS)
        if key == EACH:
            return [self._choose_next(call) for call in calls]
        return [KEYS.get(key, Decision.REFUSE)] * len(calls)

    def _choose_next(self, call: ProposedCall) -> Decision:
        self._output.text(call_line(call))
        return self._choose(call)

    def _choose(self, call: ProposedCall) -> Decision:
        effect = call.tool.effect if call.tool is not None else Effect.FOREIGN
        question = QUESTIONS.get(effect, f"Call {call.name}?")
        return KEYS.get(self._composer.choose(question, ONE_CALL), Decision.REFUSE)

    def _show(self, call: ProposedCall) -> None:
        if call.tool is None or call.tool.effect is not Effect.COMMAND:
            self._output.text(call_line(call))
        if call.diff is not None:
            lines = [f"{line}\n" for line in render_diff(call.diff, self._look)]
            self._output.page("".join(lines))
        elif call.tool is not None and call.tool.effect is Effect.COMMAND:
            command = str(call.arguments.get("command", ""))
            self._output.page(_indented(command, "  $ "))
        elif len(call_line(call, LONGEST_SHOWN)) > LONGEST_LINE:
            self._output.page(_indented(_json(call.arguments, indent=2), "  "))


def call_line(call: ProposedCall, longest: int = LONGEST_LINE) -> str:
    """Return a call in one line without control characters: name, and arguments as JSON."""
    arguments = {name: value for name, value in call.arguments.items() if value is not None}
    text = f"{call.name} {_values(arguments)}".rstrip()
    return harmless_line(text if len(text) <= longest else f"{text[:longest]}...")


def _values(arguments: Mapping[str, object]) -> str:
    if len(arguments) == 1:
        return _json(next(iter(arguments.values())))
    return " ".join(f"{name}={_json(value)}" for name, value in arguments.items())


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _indented(text: str, prefix: str) -> str:
    """Return lines with a prefix; a text that is too long is cut, with a note."""
    shown = text[:LONGEST_SHOWN]
    lines = [f"{prefix}{harmless_line(line)}\n" for line in shown.split("\n")]
    if len(text) > LONGEST_SHOWN:
        lines.append(f"{prefix}[{len(text) - LONGEST_SHOWN} more characters]\n")
    return "".join(lines)
