"""Prompt of a command: from arguments, a pipe, or both, as UTF-8.

Python decodes arguments and stdin by the locale. If the locale is not UTF-8 but the bytes are
valid UTF-8, they are decoded as UTF-8; otherwise the text is what the locale decodes.
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
    """Return the prompt, None if there is none and stdin is a terminal: a chat starts.

    Text from a pipe follows the arguments after a blank line.

    Raises:
        UsageError: stdin is not a terminal and the prompt is empty, or it is not UTF-8.
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
    """Return the text of an argument that Python has decoded by the locale.

    Raises:
        UsageError: it is neither UTF-8 nor text of the locale; the error contains ``name``.
    """
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        pass
    try:
        argument.encode()
    except UnicodeEncodeError as error:  # bytes that the locale cannot decode
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
