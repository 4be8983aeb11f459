"""Tools of a chat in the terminal: their rounds, what is printed of them, and their lists.

    read_file "notes.txt"
      lines 1-20 of 120                    (Ctrl-O shows the result)
    edit_file path="a.py" ...
      +1 -1

Each call is one line, its result another; the whole result unfolds. Invariant: the answer is
printed by the chat alone, and no text of a tool reaches the terminal with control characters.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from localrun.agent.loop import Desk, RoundLimits, RoundsEnd, run_rounds
from localrun.agent.permissions import Permissions
from localrun.agent.toolbox import ToolError
from localrun.cli.chatting.screen.diffs import render_diff
from localrun.cli.chatting.tool_choices import ToolQuestions, call_line
from localrun.cli.output import Output
from localrun.cli.rendering.look import TerminalLook
from localrun.errors import UsageError
from localrun.terminal import harmless_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.agent.configuration import ToolConfiguration
    from localrun.agent.loop import Message, ProposedCall
    from localrun.agent.opening import OpenTools
    from localrun.agent.toolbox import ToolResult
    from localrun.cli.chatting.prompt.composer import Composer
    from localrun.cli.chatting.transcript import ChatTranscript

SHORT_RESULT = 100  # characters that are printed as they are
LONGEST_ABOUT = 90
ENDS = {
    RoundsEnd.ROUNDS: "(stopped: the model called tools in too many rounds; type on to continue)",
    RoundsEnd.BYTES: "(stopped: the results of the tools are too large for one turn)",
}


class ChatTools:
    """The tools of one chat, as the chat uses them."""

    def __init__(
        self,
        opened: OpenTools,
        composer: Composer,
        transcript: ChatTranscript,
        num_context: Callable[[], int],
        look: TerminalLook,
    ) -> None:
        self._opened = opened
        self._num_context = num_context
        self._permissions = Permissions()
        self._questions = ToolQuestions(composer, look)
        self._screen = ToolScreen(composer, transcript, look)

    @property
    def mode(self) -> str:
        """Return the mode of permissions, for the toolbar."""
        return self._permissions.mode.value

    def definitions(self) -> list[dict[str, Any]]:
        """Return the field ``tools`` of requests."""
        return self._opened.toolbox.definitions()

    def answer(
        self,
        ask: Callable[[list[Message]], Message],
        messages: list[Message],
        keep: Callable[[Message], None],
    ) -> None:
        """Run rounds of answers and tool calls until the model calls no tool."""
        self._screen.keep_message = keep
        desk = Desk(
            toolbox=self._opened.toolbox,
            permissions=self._permissions,
            approver=self._questions,
            observer=self._screen,
        )
        limits = RoundLimits.for_context(self._num_context())
        with contextlib.closing(self._screen):
            end = run_rounds(ask, desk, messages, limits)
        if end in ENDS:
            self._screen.note(ENDS[end])

    def next_mode(self) -> None:
        """Change to the next mode of permissions."""
        self._permissions.next_mode()

    def undo(self) -> str | None:
        """Undo the last edit of a file; return what was undone, None if there is none.

        Raises:
            UsageError: the file has changed since the edit.
        """
        try:
            return self._opened.toolbox.undo()
        except ToolError as error:
            raise UsageError(str(error)) from error

    def describe(self) -> str:
        """Return the tools with a line for each, and how they are permitted."""
        tools = self._opened.toolbox.tools
        width = max((len(tool.name) for tool in tools), default=0)
        lines = [
            f"{tool.name.ljust(width)}   {self._permissions.about(tool).ljust(8)}   "
            f"{harmless_line(_first_line(tool.description))}"
            for tool in tools
        ]
        notes = [self._opened.sandbox, *self._opened.notes]
        mode = f"Mode: {self.mode}; Shift-Tab changes it."
        return "\n".join([*lines, *filter(None, map(harmless_line, notes)), mode])

    def describe_skills(self) -> str:
        """Return the skills with a line for each."""
        skills = self._opened.skills
        width = max((len(skill.name) for skill in skills), default=0)
        lines = [
            f"{skill.name.ljust(width)}   {_first_line(skill.about)}   ({skill.folder})"
            for skill in skills
        ]
        return "\n".join(map(harmless_line, lines)) or "No skills: .agents/skills/NAME/SKILL.md"

    def close(self) -> None:
        """End the servers of the tools."""
        self._opened.toolbox.close()


class ToolScreen:
    """What is printed of calls, as a `RoundObserver`; during a call Ctrl-C and Esc stop it."""

    def __init__(self, composer: Composer, transcript: ChatTranscript, look: TerminalLook) -> None:
        self._composer = composer
        self._transcript = transcript
        self._look = look
        self._output = Output()
        self._calling = contextlib.ExitStack()
        self.keep_message: Callable[[Message], None] = lambda _: None

    def keep(self, message: Message) -> None:
        """Take a new message, of the model or of a tool."""
        self.keep_message(message)

    def note(self, text: str) -> None:
        """Print a message of the program."""
        self._transcript.aside(text)

    def begin_call(self, call: ProposedCall) -> None:
        """Print a call that is about to be executed."""
        if not call.is_asked:  # else the question has shown it
            self._output.text(call_line(call))
        self._calling.enter_context(self._composer.answering(lambda: None))

    def end_call(self, call: ProposedCall, result: ToolResult) -> None:
        """Print the result of a call."""
        self.close()
        if call.problem and not call.is_asked:
            self._output.text(call_line(call))
        elif result.diff is not None and not call.is_asked:
            self._output.page("".join(f"{line}\n" for line in render_diff(result.diff, self._look)))
        self._transcript.folded(f"  {result_line(result)}", harmless_line(result.text))

    def close(self) -> None:
        """Leave the call, if there is one."""
        self._calling.close()


def open_chat_tools(
    configuration: ToolConfiguration,
    environ: Mapping[str, str],
    composer: Composer,
    transcript: ChatTranscript,
    num_context: Callable[[], int],
) -> ChatTools:
    """Open the tools of a chat and print what is missing; blocks until the servers answer.

    ``num_context`` returns the size of the context window in tokens, 0 if it is not known.

    Raises:
        LocalrunError: the configuration cannot be used on this system.
    """
    from localrun.agent.opening import open_tools

    try:
        opened = open_tools(configuration, environ, transcript.status)
    finally:
        transcript.status("")
    for note in filter(None, (opened.sandbox, *opened.notes)):
        transcript.note(f"tools: {note}")
    return ChatTools(opened, composer, transcript, num_context, TerminalLook.of(environ))


def result_line(result: ToolResult) -> str:
    """Return one line for a result, without control characters."""
    first = _first_line(result.text)
    if result.is_error and not result.summary:
        return f"error: {first}"
    if result.summary:
        return harmless_line(result.summary)
    num_lines = result.text.count("\n") + 1
    if num_lines == 1 and len(result.text) <= SHORT_RESULT:
        return first
    return f"{len(result.text):,} characters in {num_lines:,} lines"


def _first_line(text: str) -> str:
    line = harmless_line(text.strip().partition("\n")[0])
    return line if len(line) <= LONGEST_ABOUT else f"{line[:LONGEST_ABOUT]}..."
