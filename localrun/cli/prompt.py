"""Where the prompt comes from: arguments, a pipe, both or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.output import is_terminal
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


def read_prompt(words: Sequence[str], stdin: TextIO | None) -> str | None:
    """Return the prompt; None on a terminal without one, where a chat opens.

    Text from a pipe is put after the argument's, a blank line between.

    Raises:
        UsageError: there is a pipe, but no prompt comes from anywhere.
    """
    argument = " ".join(words)
    if stdin is not None and is_terminal(stdin):
        return argument or None
    try:
        piped = stdin.read().strip() if stdin is not None else ""
    except UnicodeDecodeError as error:
        raise UsageError("the input from the pipe is not UTF-8 text") from error
    prompt = "\n\n".join(part for part in (argument, piped) if part)
    if not prompt:
        raise UsageError("the prompt is empty", hint='localrun run guide "What can you do?"')
    return prompt
