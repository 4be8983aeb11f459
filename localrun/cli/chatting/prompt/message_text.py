r"""Message syntax: a message of several lines, and text that is safe to send.

    three double quotes start a quoted message, which goes on until a line ends with three
    a line that ends with a backslash is continued; two backslashes are text

Pure functions: the same rules hold for the line editor and for plain input.
"""

from __future__ import annotations

QUOTES = '"""'
BACKSLASH = "\\"
PROMPT, CONTINUED = ">>> ", "... "


def is_quoted(text: str) -> bool:
    """Return whether the text starts a quoted message."""
    return text.lstrip().startswith(QUOTES)


def is_unfinished(text: str) -> bool:
    """Return whether Enter continues the message: an open quote, or a backslash at its end."""
    if is_quoted(text):
        return not text.lstrip().removeprefix(QUOTES).rstrip().endswith(QUOTES)
    return ends_with_backslash(text)


def ends_with_backslash(text: str) -> bool:
    """Return whether the last line is continued: an odd number of backslashes ends it."""
    return (len(text) - len(text.rstrip(BACKSLASH))) % 2 == 1


def unquoted(text: str) -> str:
    """Return the text of a finished message without its quotes."""
    if not is_quoted(text) or is_unfinished(text):
        return text
    return text.strip().removeprefix(QUOTES).removesuffix(QUOTES).strip()


def with_line_ends(text: str) -> str:
    r"""Return a pasted text with ``\n`` as its only line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_unicode(text: str) -> str:
    """Return a text without surrogates: bytes that are not valid UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def as_shown(text: str) -> str:
    """Return a message with the prompt before its first line, and marks before the others."""
    return PROMPT + text.replace("\n", f"\n{CONTINUED}")
