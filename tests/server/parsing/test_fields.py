from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import UsageError
from localrun.server.ollama.call import parse_call
from localrun.server.ollama.transfers import transfer_order
from localrun.server.openai.chat_request import parse_chat
from localrun.server.parsing.fields import LARGEST_INTEGER, Fields, parse_object
from localrun.server.parsing.json_parser import DEEPEST

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (  # noqa: SIM905 - a list of words is easier to read
    "model messages prompt system stream think format tools options keep_alive raw images n stop"
    " temperature top_k seed max_tokens response_format stream_options tool_choice logit_bias"
    " chat_template_kwargs reasoning_effort num_ctx num_predict role content tool_calls function"
    " name arguments type text repeat_penalty from files adapters license parameters template"
    " modelfile quantize requires insecure num_keep use_mmap mirostat"
).split()
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, 2**63, -(2**63), "user", "assistant", "text", "10m", "json", "{}"])
    | st.floats(allow_nan=True)
    | st.text(max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(VALUES, max_size=2) | VALUES},
    optional={name: VALUES for name in NAMES if name not in {"model", "messages"}},
)
PARSERS: list[Callable[[Fields], object]] = [
    parse_chat,
    lambda fields: parse_call(fields, "chat"),
    lambda fields: parse_call(fields, "generate"),
    lambda fields: transfer_order("create", fields),
    lambda fields: transfer_order("pull", fields),
]


@given(BODIES, st.sampled_from(PARSERS))
def test_a_body_of_any_shape_is_read_or_refused_by_name(
    body: dict[str, Any], parse: Callable[[Fields], object]
) -> None:
    refusal = refusal_of(parse, body)

    assert refusal is None or refusal.message.startswith(str(refusal.param))


def refusal_of(parse: Callable[[Fields], object], body: dict[str, Any]) -> UsageError | None:
    try:
        parse(Fields(body))
    except UsageError as error:
        return error
    return None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"[" * 100_000,
        b'"\xff"',
        b'{"a": "\\ud800"}',
        b'{"\xed\xa0\x80":1}',
    ],
)
def test_what_is_no_object_or_no_unicode_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match="body"):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": [-Infinity]}', "-Infinity"),
        (b'{"a": 1e999}', "too large: 1e999"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "'c' twice"),
        (b'{"a": "\xff"}', "byte 7"),
    ],
)
def test_what_json_lacks_is_refused_in_words(body: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_object(body)


def test_a_mark_before_the_body_is_no_part_of_it() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": 1.5}').number("a", 0, 2) == 1.5


def test_a_character_in_two_escaped_halves_is_whole() -> None:
    assert parse_object(b'{"a": "\\ud83d\\ude00"}').text("a") == "\U0001f600"


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), 10**400, -1, 3])
def test_a_number_out_of_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match=r"^inner\.x must be"):
        Fields({"inner": {"x": value}}).inner("inner").number("x", 0, 2)


def test_whole_numbers_may_come_as_floats_and_end_at_64_bits() -> None:
    fields = Fields({"three": 3.0, "largest": LARGEST_INTEGER, "half": 0.5, "large": 2**63})

    assert fields.integer("three") == 3
    assert fields.integer("largest") == LARGEST_INTEGER
    with pytest.raises(UsageError, match="whole"):
        fields.integer("half")
    with pytest.raises(UsageError, match="between"):
        fields.integer("large")


def test_null_is_absence() -> None:
    fields = parse_object(json.dumps(dict.fromkeys("abcdef")).encode())

    assert fields.text("a") is None
    assert fields.boolean("b") is None
    assert fields.integer("c") is None
    assert fields.strings("d") == ()
    assert fields.objects("e") == []
    assert fields.inner("f").text("x") is None


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_bodies_are_refused_from_a_depth_on_and_taken_until_then(pair: tuple[str, str]) -> None:
    opening, closing = pair

    def nested(depth: int) -> bytes:
        return f'{{"x": {opening * depth}1{closing * depth}}}'.encode()

    assert parse_object(nested(DEEPEST - 1)).raw("x")
    with pytest.raises(UsageError, match="in each other"):
        parse_object(nested(DEEPEST))
    with pytest.raises(UsageError):
        parse_object(nested(200_000))


def test_a_long_body_that_is_not_deep_is_taken() -> None:
    assert len(parse_object(b'{"x": [%s]}' % b",".join([b"[{}]"] * 1000)).raw("x")) == 1000
