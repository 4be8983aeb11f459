"""Values of Go's literals: strings, characters and numbers."""

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
    """Return the text of a quoted string or character.

    Raises:
        ValueError: Go does not have an escape.
    """
    body, out, at = token[1:-1], bytearray(), 0
    for escape in _ESCAPE.finditer(body):
        out += body[at : escape.start()].encode(errors="surrogatepass") + _unescaped(escape)
        at = escape.end()
    out += body[at:].encode(errors="surrogatepass")
    return out.decode(errors="replace")  # a lone \xff is a byte in Go, but not text


def number(token: str) -> int | float:
    """Return the value of a number: an int unless it is written as a fraction.

    Raises:
        ValueError: the token is not a number, or an int of more than 64 bits.
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


def _unescaped(escape: re.Match[str]) -> bytes:
    if escape["simple"]:
        if escape["simple"] not in _SIMPLE:
            raise ValueError
        return _SIMPLE[escape["simple"]].encode()
    if escape["byte"]:
        return bytes([int(escape["byte"], 16)])
    if escape["octal"]:
        return bytes([int(escape["octal"], 8)])
    return chr(int(escape["short"] or escape["long"], 16)).encode()
