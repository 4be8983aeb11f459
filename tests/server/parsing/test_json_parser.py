"""Large bodies: the same values as small ones, within limits, without holding the interpreter."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localrun.errors import BodyTooLargeError, UsageError
from localrun.server.parsing import json_parser as parsing
from localrun.server.parsing.fields import parse_object
from localrun.server.parsing.json_parser import (
    DEEPEST,
    PIECE_BYTES,
    SMALL_BYTES,
    is_larger,
    is_small,
    parse_json,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
PADDING = b" " * SMALL_BYTES  # makes any body a large one


def outcome(body: bytes) -> object:
    try:
        return parse_json(body)
    except UsageError as error:
        return type(error)


@settings(max_examples=50, deadline=None)
@given(value=VALUES, is_ascii=st.booleans())
def test_a_large_body_has_the_values_of_a_small_one(value: Any, is_ascii: bool) -> None:  # noqa: FBT001 - hypothesis
    body = json.dumps(value, ensure_ascii=is_ascii).encode()

    assert not is_small(body + PADDING)
    assert repr(parse_json(body + PADDING)) == repr(parse_json(body))


@given(
    body=st.binary(max_size=12)
    | st.text('[]{},:"\\ud8c1e+-.0 tfn\n\0', max_size=14).map(str.encode)
)
@example(body=b"[1 2]")
@example(body=b"[012]")
@example(body=b"[-]")
@example(body=b"[1.]")
@example(body=b'{"a":1,"a":2}')
@example(body=b"{1:2}")
@example(body=b"{{}:2}")
@example(body=b'["\\ud83d\\ude00", "\\ud83d"]')
@example(body=b'["\\x"]')
@example(body=b"NaN")
@example(body=b"[1e999]")
@example(body=b'"\xff"')
@example(body=b"\xef\xbb\xbf[]")
@example(body=b"[" + b"1" * 4300 + b"]")
@example(body=b"[" + b"1" * 4301 + b"]")
@example(body=b"[" + b"1" * 9000 + b"]")
def test_a_large_body_is_refused_where_a_small_one_is(body: bytes) -> None:
    assert repr(outcome(body + PADDING)) == repr(outcome(body))


@pytest.mark.parametrize(
    "unit", ["x", "\u00e9", "\U0001f600", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\\\"]
)
@pytest.mark.parametrize("shift", range(12))
def test_a_string_of_many_pieces_is_whole(unit: str, shift: int) -> None:
    text = '"' + "a" * shift + unit * (2 * PIECE_BYTES // len(unit.encode()) + 5) + '"'

    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("inner", [b"\x00", b"\n", b"\xff", b"\\x", b"\\ud83d", b'"', b"\\n", b""])
def test_a_long_string_has_the_rules_of_a_short_one(inner: bytes) -> None:
    long, short = (b'["' + b"a" * size + inner + b'b"]' for size in (PIECE_BYTES + 5000, 1))

    values = [outcome(body + PADDING) for body in (long, short)]

    if isinstance(values[1], list):
        assert values[0] == [text.replace("a", "a" * (PIECE_BYTES + 5000)) for text in values[1]]
    else:
        assert values[0] == values[1]


def test_the_interpreter_is_held_for_a_piece_of_a_string_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    loads = json.loads

    def noting(text: str) -> object:
        decoded.append(len(text))
        return loads(text)

    monkeypatch.setattr("localrun.server.parsing.json_parser.json.loads", noting)

    parse_json(b'{"a":"' + b"\\n" * PIECE_BYTES * 2 + b'"}')

    assert max(decoded) <= PIECE_BYTES + 2
    assert len(decoded) >= 4


@pytest.mark.parametrize("unit", [b"{}", b"[]", b"0", b'""', b'{"a":0}', b"null"])
def test_many_values_are_refused_before_they_take_memory(
    unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 10_000
    monkeypatch.setattr(parsing, "MAX_VALUES", most)
    monkeypatch.setattr(parsing, "MAX_NUMBERS", most)
    body = b"[" + unit + (b"," + unit) * (20 * most) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError, match="more than 10000"):
            parse_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 250 * most


def test_a_prompt_of_a_million_token_ids_is_taken() -> None:
    ids = list(range(1_000_000))

    assert parse_object(json.dumps({"prompt": ids, "n": 1}).encode()).raw("prompt") == ids


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_large_body_has_the_same_depth(pair: tuple[bytes, bytes]) -> None:
    opening, closing = pair

    assert parse_json(opening * DEEPEST + b"1" + closing * DEEPEST + PADDING)
    with pytest.raises(UsageError, match="in each other"):
        parse_json(opening * (DEEPEST + 1) + b"1" + closing * (DEEPEST + 1) + PADDING)
    with pytest.raises(UsageError, match="in each other"):
        parse_json(opening * 200_000)


def test_a_body_with_many_values_is_not_small() -> None:
    assert is_small(b'{"a": "%s"}' % (b"x" * 1000))
    assert not is_small(b"[" + b"{}," * 40_000 + b"{}]")
    assert not is_small(b'"' + b"x" * SMALL_BYTES + b'"')


@given(value=VALUES, most=st.integers(0, 300))
def test_what_is_larger_has_more_characters_of_json(value: Any, most: int) -> None:
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    assert not is_larger(value, len(written))
    assert is_larger(["x" * (most + 1)], most)
