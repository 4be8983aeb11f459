"""JSON parser for request bodies: bounded depth, number of values and uninterrupted work.

The decoder of the standard library holds the interpreter lock (GIL) from the first byte to the
last, and a body of 60 MB can make it allocate 3 GB. It is used for small bodies only. `_Reader`
reads large ones: it counts while it reads, and it returns to Python bytecode, where other
threads get the lock, after each value and after each `PIECE_BYTES` of a string. Both accept the
same bodies and return the same values. Long pieces without escapes, such as images, are searched
and not matched, in a fifth of the time.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from localrun.errors import BodyTooLargeError, UsageError

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject

DEEPEST = 100  # levels of nesting: later code may be recursive
MAX_NUMBERS = 2**20  # a prompt of a million token ids
MAX_VALUES = 2**18  # other values and names: about 50 MB
SMALL_BYTES, SMALL_VALUES = 128 * 1024, 8192  # a few milliseconds
PIECE_BYTES = 256 * 1024  # of a string, and the longest run of digits: about 1 ms
LONG_BYTES = 4096  # of a string, from which on it is faster to search than to match
VALUE_CHARACTERS = 1  # minimum of a value that is not a string
NO_DEPTH = -1  # of a name, which must be a string
LONGEST_NUMBER = 4300  # digits: Python's own limit, against slow conversions
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character unless the other half follows

_BLANK = rb"[ \t\n\r]*+"
_NUMBER = rb"-?+(?:0|[1-9][0-9]{0,5000}+)(?:\.[0-9]{1,5000}+)?+(?:[eE][-+]?+[0-9]{1,5000}+)?+"
_VALUE = re.compile(
    _BLANK
    + rb'(?:"(?P<text>[^"\\\x00-\x1f]{0,4096}+)"|(?P<open>[\[{])|(?P<number>'
    + _NUMBER
    + rb')|(?P<word>true|false|null)|(?P<quote>")|(?P<none>NaN|-?Infinity))'
)
_INTEGERS = re.compile(rb"(?:" + _BLANK + rb"-?(?:0|[1-9][0-9]{0,17}+)" + _BLANK + rb",){2,4096}+")
_SIGN = re.compile(_BLANK + rb"([\[\]{},:]?)")
_PIECE = re.compile(
    rb'(?:[^"\\\x00-\x1f]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}'
    rb'|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])*+'
)
_CONTROLS = bytes(range(0x20))
_WORDS = {b"true": True, b"false": False, b"null": None}
_MARK = b"\xef\xbb\xbf"  # byte order mark of Windows


def is_small(body: bytes) -> bool:
    """Return whether a body can be parsed in a few milliseconds."""
    if len(body) > SMALL_BYTES:
        return False
    return sum(map(body.count, (b",", b"[", b"{"))) <= SMALL_VALUES


def parse_json(body: bytes) -> object:
    """Return the value of a body.

    Raises:
        BodyTooLargeError: the body has more than `MAX_VALUES` values and names, or more than
            `MAX_NUMBERS` numbers.
        UsageError: the body is not JSON, is nested too deeply, or has text that is not Unicode,
            numbers that JSON lacks, or a name twice in one object: parsers disagree about which
            of the two values counts.
    """
    try:
        return _parse_small(body) if is_small(body) else _JsonReader(body).document()
    except UnicodeEncodeError as error:
        raise UsageError("the body is not Unicode: half of a surrogate pair is in it") from error


def _parse_small(body: bytes) -> object:
    try:
        value: object = _decoder.decode(body.decode("utf-8-sig"))
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise _not_utf8(error.start) from error
    except json.JSONDecodeError as error:
        raise UsageError(f"the body is not JSON: {error}") from error
    except ValueError as error:
        raise _too_many_digits() from error
    if SURROGATE.search(body):
        json.dumps(value, ensure_ascii=False).encode()
    if body.count(b"{") + body.count(b"[") > DEEPEST and _is_deeper(value, DEEPEST):
        raise _too_deep()
    return value


def is_larger(value: object, most: int) -> bool:
    """Return whether a value has more than ``most`` characters of JSON, by a lower estimate."""
    size, pending = 0, [value]
    while pending and size <= most:
        item = pending.pop()
        if isinstance(item, dict):
            size += sum(map(len, item))
            pending += item.values()
        elif isinstance(item, list | tuple):
            pending += item
        size += len(item) + 2 if isinstance(item, str | bytes) else VALUE_CHARACTERS
    return size > most


class _JsonReader:
    """One pass over a body; ``_at`` is the next byte."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = len(_MARK) if body.startswith(_MARK) else 0
        self._num_values = 0
        self._num_numbers = 0
        self._names: dict[str, str] = {}  # one copy of each

    def document(self) -> object:
        value = self._value(0)
        if self._sign() or self._at < len(self._body):
            self._fail()
        return value

    def _value(self, depth: int) -> object:
        match = _VALUE.match(self._body, self._at)
        if match is None:
            self._fail()
        self._at = match.end()
        kind = match.lastgroup
        if kind == "number":
            self._count_numbers(1)
            return self._number(match["number"])
        self._count_value()
        if kind == "text":
            return self._decoded(match["text"], match.start("text"))
        if kind == "open":
            if depth == DEEPEST:
                raise _too_deep()
            if depth == NO_DEPTH:
                self._fail()
            return self._list(depth + 1) if match["open"] == b"[" else self._object(depth + 1)
        if kind == "quote":
            return self._text()
        return _WORDS[match["word"]] if kind == "word" else _no_number(match["none"].decode())

    def _list(self, depth: int) -> list[object]:
        items: list[object] = []
        if self._closes(b"]"):
            return items
        while True:
            if run := _INTEGERS.match(self._body, self._at):  # of token ids: a million of them
                integers = run[0].split(b",")
                integers.pop()
                self._count_numbers(len(integers))
                self._at = run.end()
                items += map(int, integers)
            items.append(self._value(depth))
            sign = self._sign()
            if sign == b"]":
                return items
            if sign != b",":
                self._fail()

    def _object(self, depth: int) -> JsonObject:
        members: JsonObject = {}
        if self._closes(b"}"):
            return members
        while True:
            name = self._name()
            value = self._value(depth)
            if name in members:
                raise _twice(name)
            members[name] = value
            sign = self._sign()
            if sign == b"}":
                return members
            if sign != b",":
                self._fail()

    def _name(self) -> str:
        name = self._value(NO_DEPTH)
        if not isinstance(name, str) or self._sign() != b":":
            self._fail()
        return self._names.setdefault(name, name)

    def _number(self, written: bytes) -> int | float:
        """Return the value of a number that a token of the body spells."""
        following = self._body[self._at : self._at + 1]
        if len(written) > LONGEST_NUMBER or (following and following in b"0123456789"):
            if len(written) < LONGEST_NUMBER:  # such as 012
                self._fail()
            raise _too_many_digits()
        return int(written) if written.lstrip(b"-").isdigit() else _finite(written.decode())

    def _text(self) -> str:
        """Return a long string, or one with escapes, piece by piece."""
        pieces, has_surrogates = [""], False
        while piece := self._piece():
            text = self._decoded(piece, self._at - len(piece))
            if b"\\" not in piece:
                pieces.append(text)
                continue
            text = str(json.loads(f'"{text}"'))
            if SURROGATE.search(piece):
                has_surrogates = True
                pieces[-1], text = _mended(pieces[-1], text)
            pieces.append(text)
        if self._body[self._at : self._at + 1] != b'"':
            self._fail()
        self._at += 1
        if has_surrogates:
            for text in pieces:
                text.encode()
        return "".join(pieces)

    def _piece(self) -> bytes:
        """Take whole characters and escapes of a string; return b"" at its end."""
        start = self._at
        end = cut = self._plain_end() or self._matched_end()
        while cut > start and self._body[cut : cut + 1] and self._body[cut] & 0xC0 == 0x80:  # noqa: PLR2004 - inside a character
            cut -= 1
        self._at = cut if cut > start else end
        return self._body[start : self._at]

    def _plain_end(self) -> int:
        """Return the end of a long piece without escapes; 0 if there is none, or an error."""
        end = min(len(self._body), self._at + PIECE_BYTES)
        quote = self._body.find(b'"', self._at, end)
        if 0 <= quote < self._at + LONG_BYTES:
            return 0
        piece = self._body[self._at : end if quote < 0 else quote]
        is_plain = b"\\" not in piece and len(piece.translate(None, _CONTROLS)) == len(piece)
        return self._at + len(piece) if is_plain else 0

    def _matched_end(self) -> int:
        match = _PIECE.match(self._body, self._at, self._at + PIECE_BYTES)
        return match.end() if match else self._at

    def _decoded(self, text: bytes, start: int) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(start + error.start) from error

    def _closes(self, bracket: bytes) -> bool:
        """Take a closing bracket if it is next."""
        before = self._at
        if self._sign() == bracket:
            return True
        self._at = before
        return False

    def _sign(self) -> bytes:
        """Take a bracket, comma or colon; return b"" if another character is next."""
        match = _SIGN.match(self._body, self._at)
        if match is None:
            return b""
        self._at = match.end()
        return match[1]

    def _count_value(self) -> None:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise BodyTooLargeError(f"the body has more than {MAX_VALUES} values and names")

    def _count_numbers(self, num_numbers: int) -> None:
        self._num_numbers += num_numbers
        if self._num_numbers > MAX_NUMBERS:
            raise BodyTooLargeError(f"the body has more than {MAX_NUMBERS} numbers")

    def _fail(self) -> NoReturn:
        raise UsageError(f"the body is not JSON: see its byte {self._at}")


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Return an object of its names and values, which must differ in their names."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _twice(name)
        seen.add(name)
    return members


def _mended(before: str, after: str) -> tuple[str, str]:
    """Join the halves of a character that was cut between two pieces."""
    if not ("\ud800" <= before[-1:] <= "\udbff" and "\udc00" <= after[:1] <= "\udfff"):
        return before, after
    whole = (before[-1] + after[0]).encode("utf-16", "surrogatepass").decode("utf-16")
    return before[:-1] + whole, after[1:]


def _no_number(text: str) -> NoReturn:
    raise UsageError(f"the body is not JSON, which has no {text}")


def _finite(text: str) -> float:
    if len(text) > LONGEST_NUMBER:
        raise _too_many_digits()
    number = float(text)
    if not math.isfinite(number):
        raise UsageError(f"the body has a number that is too large: {text[:40]}")
    return number


def _too_many_digits() -> UsageError:
    return UsageError("the body has a number of too many digits")


def _too_deep() -> UsageError:
    return UsageError(f"the body has more than {DEEPEST} lists and objects in each other")


def _twice(name: str) -> UsageError:
    return UsageError(f"the body has {name[:100]!r} twice in one object")


def _not_utf8(place: int) -> UsageError:
    return UsageError(f"the body is not UTF-8: see its byte {place}")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
)


def _is_deeper(value: object, most: int) -> bool:
    """Return whether a value has more than ``most`` levels of nesting."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        inner = [item.values() if isinstance(item, dict) else item for item in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True
