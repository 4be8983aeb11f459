"""Text of arguments and pipes, as UTF-8.

Python decodes arguments and stdin by the locale. If the locale is not UTF-8 but the bytes are
valid UTF-8, they are decoded as UTF-8; otherwise the text is what the locale decodes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, UsageError

if TYPE_CHECKING:
    from typing import TextIO

MAX_INPUT = 32 << 20  # bytes of stdin: a server takes no larger request


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


def read_all(stdin: TextIO) -> str:
    """Return all text of stdin; lines end as on Unix.

    Raises:
        UsageError: it is neither UTF-8 nor text of the locale.
        BodyTooLargeError: it is larger than `MAX_INPUT`, such as an endless pipe.
    """
    content = stdin.buffer.read(MAX_INPUT + 1)
    if len(content) > MAX_INPUT:
        raise BodyTooLargeError(f"the input from the pipe is larger than {MAX_INPUT >> 20} MiB")
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
