"""The values that Go's literals stand for."""

from __future__ import annotations

import re

_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_ESCAPE = re.compile(
    r"\\(?:x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<simple>.))",
    re.DOTALL,
)
_INT64 = 2**63


def string(token: str) -> str:
    """Return what a quoted string or character means.

    Raises:
        ValueError: an escape that Go does not know.
    """
    body, out, at = token[1:-1], bytearray(), 0
    for found in _ESCAPE.finditer(body):
        out += body[at : found.start()].encode(errors="surrogatepass") + _unescaped(found)
        at = found.end()
    out += body[at:].encode(errors="surrogatepass")
    return out.decode(errors="replace")  # \xff alone is a byte in Go, and no text


def number(token: str) -> int | float:
    """Return what a number means: an int unless it is written as a fraction.

    Raises:
        ValueError: it is no number, or an int of more than 64 bits.
    """
    plain = token.replace("_", "")
    if re.fullmatch(r"[+-]?0[0-7]+", plain):  # Go's old octal form
        value: int | float = int(plain, 8)
    else:
        try:
            value = int(plain, 0)
        except ValueError:
            value = float(plain)
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValueError
    return value


def _unescaped(found: re.Match[str]) -> bytes:
    if found["simple"]:
        if found["simple"] not in _SIMPLE:
            raise ValueError
        return _SIMPLE[found["simple"]].encode()
    if found["byte"]:
        return bytes([int(found["byte"], 16)])
    if found["octal"]:
        return bytes([int(found["octal"], 8)])
    return chr(int(found["short"] or found["long"], 16)).encode()
