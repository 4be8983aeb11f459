"""Values of a header in GGUF's encoding: new ones, and changed ones of a file.

An encoded value is its type (u32) and its content, as it stands in the file. A rule describes a
value of the new header, from the keys and tensors of the file that is translated:

    {u32 = 1}  {f32 = 0.5}  {bool = true}  {str = "yarn"}  {i32s = [1, 2]}  {f32s = [0.5, 0.5]}
    {copy = "key"}                 a number, a text, or a list of up to 64 numbers
    {sum = ["key", "key"]}         of numbers
    {item = ["key", 1]}            of a list; with ``plus = 1`` one more
    {length = "key"}               of a list
    {rows = "tensor"}, {columns = "tensor"}
    {quotient = ["tensor", "tensor"]}    columns of the first for each of the second
    {side = ["tensor", "key"]}     pixels of a square with a patch for each row, of that size
    {inverse = "key"}              1 divided by a number, rounded
    {flags = ["key", "count"]}     as many truth values, true at the places in the list

    {layers = ["blk.*.", ...]}     numbers that such tensors have, from 0 up, together

With ``at_least = ["key", 1]`` the rule applies only if a number is that large, with ``with = "v."``
only if the file has a tensor whose name begins so.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError
from localrun.translation.patterns import count_numbers, is_like

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.gguf.header import Header

U8, U32, I32, F32, BOOL, STRING, ARRAY = 0, 4, 5, 6, 7, 8, 9
LIST_HEAD = struct.Struct("<IIQ")  # type, type of the elements, their number
CONDITION, BEGINNING, ADDEND = "at_least", "with", "plus"
LONGEST_LIST = 10_000  # of numbers, one for each layer
LARGEST_CHARSMAP = 8 << 20  # characters of base64
LENGTH = struct.Struct("<Q")
SIZES = {U8: 1, 1: 1, 2: 2, 3: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, 10: 8, 11: 8, 12: 8}
LISTS = {"i32s": (I32, "i"), "f32s": (F32, "f"), "bools": (BOOL, "?")}
NORMAL_TOKEN, BYTE_TOKEN = 1, 6


def encoded_text(text: str) -> bytes:
    """Return a text value."""
    content = text.encode()
    return struct.pack("<IQ", STRING, len(content)) + content


def encoded_number(value: int) -> bytes:
    """Return an unsigned number of 32 bits."""
    return struct.pack("<II", U32, value)


def encoded(spec: Mapping[str, Any], header: Header) -> bytes | None:
    """Return the value that a rule describes, None if what it is made of is missing.

    Raises:
        ValueError: a rule of an unknown kind.
    """
    if not _applies(spec, header):
        return None
    ((kind, value),) = (
        (kind, value) for kind, value in spec.items() if kind not in {CONDITION, BEGINNING, ADDEND}
    )
    if kind in {"str", "u32", "f32", "bool", *LISTS}:
        return _constant(kind, value)
    if kind == "copy":
        return _copied(header.metadata.get(value))
    if kind == "flags":
        return _flags(header, *value)
    number = _number_of(kind, value, header)
    if number is None:
        return None
    number += spec.get(ADDEND, 0)
    return encoded_number(number) if 0 <= number < 1 << 32 else None


def converted(change: str, content: bytes) -> bytes:
    """Return an encoded value after a change.

    Changes: ``largest``, a list of numbers to its largest one; ``four``, a list of three numbers to
    four, the last one 0; ``base64``, a list of characters to the bytes that they encode.

    Raises:
        IntegrityError: the value has another form.
        ValueError: no such change.
    """
    if int.from_bytes(content[:4], "little") != ARRAY:
        return content  # as llama.cpp wants it already
    if change == "base64":
        return _decoded(content)
    _, kind, count = LIST_HEAD.unpack_from(content)
    if kind not in {U32, I32} or not 0 < count <= LONGEST_LIST:
        raise IntegrityError("a list of numbers in the header has another type or length")
    numbers = struct.unpack_from(f"<{count}{'I' if kind == U32 else 'i'}", content, LIST_HEAD.size)
    if change == "largest":
        return encoded_number(max(0, *numbers))
    if change == "four":
        return _constant("i32s", [*numbers, 0][:4])
    raise ValueError(f"no change {change}")


def cut_list(content: bytes, count: int) -> bytes:
    """Return an encoded list without what is behind its first ``count`` elements.

    Raises:
        IntegrityError: a list of lists.
    """
    if int.from_bytes(content[:4], "little") != ARRAY:
        return content
    _, kind, length = LIST_HEAD.unpack_from(content)
    if length <= count:
        return content
    end = LIST_HEAD.size
    if kind == STRING:
        for _ in range(count):
            end += LENGTH.size + LENGTH.unpack_from(content, end)[0]
    elif kind in SIZES:
        end += count * SIZES[kind]
    else:
        raise IntegrityError("a list of the tokenizer has elements of another type")
    return LIST_HEAD.pack(ARRAY, kind, count) + content[LIST_HEAD.size : end]


def with_byte_tokens(types: bytes, tokens: bytes) -> bytes:
    """Return the encoded types of tokens with those of bytes and unused tokens corrected.

    Raises:
        IntegrityError: the tokens are no list of texts, or their types no list of numbers.
    """
    _, kind, count = LIST_HEAD.unpack_from(types)
    if kind != I32:
        raise IntegrityError("the types of the tokens are no list of numbers")
    numbers = list(struct.unpack_from(f"<{count}i", types, LIST_HEAD.size))
    for place, token in enumerate(_strings(tokens)[:count]):
        if len(token) == len(b"<0x00>") and token.startswith(b"<0x") and token.endswith(b">"):
            numbers[place] = BYTE_TOKEN
        elif token.startswith(b"<unused"):
            numbers[place] = NORMAL_TOKEN
    return types[: LIST_HEAD.size] + struct.pack(f"<{count}i", *numbers)


def _decoded(content: bytes) -> bytes:
    _, kind, count = LIST_HEAD.unpack_from(content)
    if kind != STRING:
        return content
    if count > LARGEST_CHARSMAP:
        raise IntegrityError(f"a character map of {count} characters")
    try:
        decoded = base64.b64decode(b"".join(_strings(content)), validate=True)
    except binascii.Error as error:
        raise IntegrityError("the character map of the tokenizer is no base64") from error
    return LIST_HEAD.pack(ARRAY, U8, len(decoded)) + decoded


def _strings(content: bytes) -> list[bytes]:
    """Return the texts of an encoded list."""
    _, kind, count = LIST_HEAD.unpack_from(content)
    if kind != STRING:
        raise IntegrityError("a list of texts in the header has another type")
    texts, at = [], LIST_HEAD.size
    for _ in range(count):
        start = at + LENGTH.size
        at = start + LENGTH.unpack_from(content, at)[0]
        texts.append(content[start:at])
    return texts


def _constant(kind: str, value: Any) -> bytes:  # noqa: ANN401 - of TOML
    if kind == "str":
        return encoded_text(value)
    if kind == "f32":
        return struct.pack("<If", F32, value)
    if kind == "bool":
        return struct.pack("<I?", BOOL, value)
    if kind == "u32":
        return encoded_number(value)
    inner, code = LISTS[kind]
    return LIST_HEAD.pack(ARRAY, inner, len(value)) + struct.pack(f"<{len(value)}{code}", *value)


def _copied(value: Any) -> bytes | None:  # noqa: ANN401 - of a header
    """Return a value of the header in the type that llama.cpp reads it with."""
    if isinstance(value, list):
        is_float = all(isinstance(item, float) for item in value)
        is_small = all(isinstance(item, int) and abs(item) < 1 << 31 for item in value)
        kind = "f32s" if is_float else "i32s" if is_small else None
        return None if kind is None else _constant(kind, value)
    kinds = {bool: "bool", float: "f32", str: "str", int: "u32"}
    kind = kinds.get(type(value))
    is_large = kind == "u32" and not 0 <= value < 1 << 32
    return None if kind is None or is_large else _constant(kind, value)


def _flags(header: Header, key: str, count_key: str) -> bytes | None:
    count, places = _number(header, count_key), header.metadata.get(key, [])
    if count is None or not count <= LONGEST_LIST or not isinstance(places, list):
        return None
    return _constant("bools", [place in places for place in range(count)])


def _applies(spec: Mapping[str, Any], header: Header) -> bool:
    beginning = spec.get(BEGINNING)
    if beginning is not None and not any(name.startswith(beginning) for name in header.tensors):
        return False
    return CONDITION not in spec or is_at_least(header, *spec[CONDITION])


def is_at_least(header: Header, key: str, least: int) -> bool:
    """Return whether a number of the header is that large."""
    value = header.metadata.get(key)
    return isinstance(value, int) and value >= least


def _number_of(kind: str, value: Any, header: Header) -> int | None:  # noqa: ANN401 - of TOML
    """Return a number of the file, None if the file lacks it."""
    find = NUMBERS.get(kind)
    if find is None:
        raise ValueError(f"no rule {kind}")
    return find(header, *(value if isinstance(value, list) else [value]))


def _sum(header: Header, *keys: str) -> int | None:
    numbers = [_number(header, key) for key in keys]
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _item(header: Header, key: str, place: int) -> int | None:
    items = header.metadata.get(key)
    item = items[place] if isinstance(items, list) and place < len(items) else None
    return item if isinstance(item, int) else None


def _length(header: Header, key: str) -> int | None:
    items = header.metadata.get(key)
    return len(items) if isinstance(items, list) else None


def _columns(header: Header, name: str) -> int | None:
    return _size(header, name, 0)


def _rows(header: Header, name: str) -> int | None:
    return _size(header, name, 1)


def _size(header: Header, name: str, place: int) -> int | None:
    """Return a size of a tensor whose name may have a star, which stands for any number."""
    for each, tensor in header.tensors.items():
        if each == name or ("*" in name and is_like(each, name)):
            return tensor.sizes[place] if len(tensor.sizes) > 1 else None
    return None


def _quotient(header: Header, dividend: str, divisor: str) -> int | None:
    whole, part = _columns(header, dividend), _columns(header, divisor)
    return whole // part if whole is not None and part else None


def _side(header: Header, name: str, key: str) -> int | None:
    patches, patch = _rows(header, name), _number(header, key)
    return None if patches is None or patch is None else math.isqrt(patches) * patch


def _layers(header: Header, *patterns: str) -> int:
    return sum(count_numbers(header, pattern) for pattern in patterns)


def _inverse(header: Header, key: str) -> int | None:
    value = header.metadata.get(key)
    if not isinstance(value, float) or not 1e-6 < value <= 1:  # noqa: PLR2004 - a share of pixels
        return None
    return round(1 / value)


def _number(header: Header, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int) else None


NUMBERS: dict[str, Callable[..., int | None]] = {
    "sum": _sum,
    "item": _item,
    "length": _length,
    "rows": _rows,
    "columns": _columns,
    "quotient": _quotient,
    "side": _side,
    "inverse": _inverse,
    "layers": _layers,
}
