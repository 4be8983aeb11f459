"""Values of a header in GGUF's encoding: new ones, and changed ones of a file.

An encoded value is its type (u32) and its content, as it stands in the file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.gguf.header import Header

U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
LIST_HEAD = struct.Struct("<IIQ")  # type, type of the elements, their number
CONDITION = "at_least"
LONGEST_LIST = 10_000  # of numbers, one for each layer
LENGTH = struct.Struct("<Q")
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, U32: 4, I32: 4, F32: 4, 7: 1, 10: 8, 11: 8, 12: 8}


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
    ((kind, value),) = ((kind, value) for kind, value in spec.items() if kind != CONDITION)
    if kind in {"str", "u32", "f32", "i32s"}:
        return _constant(kind, value)
    number = _found(kind, value, header)
    return encoded_number(number) if number is not None and 0 <= number < 1 << 32 else None


def converted(change: str, content: bytes) -> bytes:
    """Return an encoded value after a change.

    Changes: ``largest``, a list of numbers to its largest one; ``four``, a list of three numbers to
    four, the last one 0.

    Raises:
        IntegrityError: the value has another form.
        ValueError: no such change.
    """
    if int.from_bytes(content[:4], "little") != ARRAY:
        return content  # as llama.cpp wants it already
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


def _constant(kind: str, value: Any) -> bytes:  # noqa: ANN401 - of TOML
    if kind == "str":
        return encoded_text(value)
    if kind == "f32":
        return struct.pack("<If", F32, value)
    if kind == "u32":
        return encoded_number(value)
    return LIST_HEAD.pack(ARRAY, I32, len(value)) + struct.pack(f"<{len(value)}i", *value)


def _applies(spec: Mapping[str, Any], header: Header) -> bool:
    if CONDITION not in spec:
        return True
    key, least = spec[CONDITION]
    value = header.metadata.get(key)
    return isinstance(value, int) and value >= least


def _found(kind: str, value: Any, header: Header) -> int | None:  # noqa: ANN401 - of TOML
    """Return a number of the file, None if the file lacks it."""
    if kind == "copy":
        return _number(header, value)
    if kind == "sum":
        numbers = [_number(header, name) for name in value]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None
    if kind in {"rows", "columns"}:
        tensor = header.tensors.get(value)
        sizes = tensor.sizes if tensor else ()
        return sizes[int(kind == "rows")] if len(sizes) > 1 else None
    name, place = value if kind == "item" else (value, None)
    items = header.metadata.get(name)
    if kind not in {"item", "length"}:
        raise ValueError(f"no rule {kind}")
    if not isinstance(items, list):
        return None
    if place is None:
        return len(items)
    item = items[place] if place < len(items) else None
    return item if isinstance(item, int) else None


def _number(header: Header, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int) else None
