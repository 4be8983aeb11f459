"""Values of a header are described by rules, and refused if the file's have another form."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from localrun.errors import IntegrityError
from localrun.gguf.header import GgufTensor, Header, SkippedArray
from localrun.translation.values import (
    ARRAY,
    BOOL,
    F32,
    I32,
    LIST_HEAD,
    STRING,
    U8,
    converted,
    cut_list,
    encoded,
    encoded_number,
    encoded_text,
    with_byte_tokens,
)

HEADER = Header(
    {
        "count": 4,
        "share": 0.5,
        "flag": True,
        "name": "x",
        "places": [1, 3],
        "mean": [0.5, 0.25],
        "long": SkippedArray(100),
        "negative": -1,
    },
    {
        "table": GgufTensor((16, 64), 0, 0),
        "blk.3.exps": GgufTensor((8, 2, 4), 0, 0),
        "list": GgufTensor((5,), 0, 0),
    },
    0,
)


def strings(*texts: bytes) -> bytes:
    content = b"".join(struct.pack("<Q", len(text)) + text for text in texts)
    return LIST_HEAD.pack(ARRAY, STRING, len(texts)) + content


def integers(*numbers: int) -> bytes:
    return LIST_HEAD.pack(ARRAY, I32, len(numbers)) + struct.pack(f"<{len(numbers)}i", *numbers)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"u32": 7}, encoded_number(7)),
        ({"str": "yarn"}, encoded_text("yarn")),
        ({"bool": True}, struct.pack("<I?", BOOL, True)),  # noqa: FBT003 - a C struct
        ({"copy": "count"}, encoded_number(4)),
        ({"copy": "share"}, struct.pack("<If", F32, 0.5)),
        ({"copy": "flag"}, struct.pack("<I?", BOOL, True)),  # noqa: FBT003 - a C struct
        ({"copy": "name"}, encoded_text("x")),
        ({"copy": "places"}, integers(1, 3)),
        ({"copy": "long"}, None),
        ({"copy": "negative"}, None),
        ({"copy": "missing"}, None),
        ({"sum": ["count", "count"]}, encoded_number(8)),
        ({"sum": ["count", "missing"]}, None),
        ({"item": ["places", 1], "plus": 1}, encoded_number(4)),
        ({"item": ["places", 2]}, None),
        ({"length": "places"}, encoded_number(2)),
        ({"rows": "table"}, encoded_number(64)),
        ({"columns": "blk.*.exps"}, encoded_number(8)),
        ({"rows": "list"}, None),
        ({"quotient": ["table", "blk.*.exps"]}, encoded_number(2)),
        ({"side": ["table", "count"]}, encoded_number(32)),
        ({"inverse": "share"}, encoded_number(2)),
        ({"inverse": "count"}, None),
        ({"layers": ["blk.*.", "mtp.*."]}, encoded_number(4)),
        ({"u32": 7, "at_least": ["count", 4]}, encoded_number(7)),
        ({"u32": 7, "at_least": ["count", 5]}, None),
        ({"u32": 7, "with": "blk."}, encoded_number(7)),
        ({"u32": 7, "with": "v."}, None),
    ],
)
def test_a_rule_describes_a_value(spec: dict[str, Any], value: bytes | None) -> None:
    assert encoded(spec, HEADER) == value


def test_flags_are_true_at_the_places_of_a_list() -> None:
    content = LIST_HEAD.pack(ARRAY, BOOL, 4) + bytes([0, 1, 0, 1])

    assert encoded({"flags": ["places", "count"]}, HEADER) == content


def test_a_rule_of_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no rule"):
        encoded({"guess": "count"}, HEADER)


def test_lists_become_what_llama_cpp_reads() -> None:
    assert converted("largest", integers(0, 4, 2)) == encoded_number(4)
    assert converted("four", integers(1, 2, 3)) == integers(1, 2, 3, 0)
    assert converted("four", encoded_number(5)) == encoded_number(5)


def test_a_character_map_of_characters_becomes_bytes() -> None:
    content = LIST_HEAD.pack(ARRAY, U8, 4) + b"\x04\x00\x00\x00"

    assert converted("base64", strings(*(bytes([each]) for each in b"BAAAAA=="))) == content
    assert converted("base64", content) == content
    with pytest.raises(IntegrityError, match="no base64"):
        converted("base64", strings(b"?", b"!"))


def test_lists_of_lists_are_refused() -> None:
    lists = LIST_HEAD.pack(ARRAY, ARRAY, 3) + bytes(40)

    with pytest.raises(IntegrityError, match="another type"):
        cut_list(lists, 2)
    with pytest.raises(IntegrityError, match="another type"):
        converted("largest", lists)


def test_byte_tokens_get_their_type() -> None:
    tokens = strings(b"<pad>", b"<0x0A>", b"<unused7>", b"a", b"<0xZZ")

    assert with_byte_tokens(integers(3, 1, 5, 1, 1), tokens) == integers(3, 6, 1, 1, 1)


def test_token_types_of_another_form_are_refused() -> None:
    with pytest.raises(IntegrityError, match="no list of numbers"):
        with_byte_tokens(strings(b"a"), strings(b"a"))
    with pytest.raises(IntegrityError, match="another type"):
        with_byte_tokens(integers(1), integers(1))
