"""Where the prompt comes from: arguments, a pipe, both or neither. It is UTF-8.

Python decodes arguments and stdin by the locale. Where that is not UTF-8 the bytes may be all
the same: then they are taken as what they are, else the text is what the locale says.
"""

from __future__ import annotations

import os
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
        UsageError: there is a pipe, but no prompt comes from anywhere; or it is not UTF-8.
    """
    argument = " ".join(as_text(word, "the prompt") for word in words)
    if stdin is not None and is_terminal(stdin):
        return argument or None
    piped = _read_all(stdin).strip() if stdin is not None else ""
    prompt = "\n\n".join(part for part in (argument, piped) if part)
    if not prompt:
        raise UsageError("the prompt is empty", hint='localrun run guide "What can you do?"')
    return prompt


def as_text(argument: str, name: str) -> str:
    """Return an argument that Python has decoded by the locale.

    Raises:
        UsageError: it is neither UTF-8 nor text of the locale; the error calls it ``name``.
    """
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        pass
    try:
        argument.encode()
    except UnicodeEncodeError as error:  # bytes that the locale has no letters for
        raise _not_utf8(name) from error
    return argument


def _read_all(stdin: TextIO) -> str:
    content = stdin.buffer.read()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = _of_locale(content, stdin.encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _of_locale(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise _not_utf8("the input from the pipe") from error


def _not_utf8(name: str) -> UsageError:
    hint = "iconv -f LATIN1 -t UTF-8 FILE   converts a file, for example"
    return UsageError(f"{name} is not UTF-8 text", hint=hint)
