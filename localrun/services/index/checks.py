"""Checks of the JSON in an index: each returns a value of one type, or raises.

The file is this user's, but a bug or another program may have written it: a value of the wrong type
must not reach a reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localrun.store.stamp import Stamp

HEX_DIGITS = 64


def text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a text, or raise TypeError."""
    if type(value) is not str:
        raise TypeError(value)
    return value


def number(value: Any) -> int:  # noqa: ANN401 - any JSON value
    """Return an integer, or raise TypeError."""
    if type(value) is not int:
        raise TypeError(value)
    return value


def optional_number(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    """Return an integer or None, or raise TypeError."""
    return None if value is None else number(value)


def texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """Return a list of texts, or raise TypeError."""
    if type(value) is not list:
        raise TypeError(value)
    return tuple(map(text, value))


def stamp(value: Any) -> Stamp:  # noqa: ANN401 - any JSON value
    """Return the stamp of a file, or raise TypeError or ValueError."""
    size, modified_ns, inode = value
    if {type(size), type(modified_ns), type(inode)} != {int}:
        raise TypeError(value)
    return (size, modified_ns, inode)


def hex_digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the digits of a digest, which are no path; or raise TypeError or ValueError."""
    digits = text(value)
    if len(digits) != HEX_DIGITS or not digits.isalnum():
        raise ValueError(digits)
    return digits
