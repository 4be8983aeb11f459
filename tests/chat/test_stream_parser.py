from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.profiles.recognition import profile_of
from localrun.chat.profiles.tools import Tools
from localrun.chat.stream_parser import Part, StreamParser, Text, Thought
from localrun.chat.tool_calls import CallArguments, CallBegun
from tests.chat.profiles.written import joined

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import Profile

HERMES = profile_of("<think></think><tool_call></tool_call>")
TOOLS = Tools.of([{"function": {"name": "weather"}}])
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def parse(
    pieces: list[str], tail: str = "", profile: Profile = HERMES, tools: Tools | None = None
) -> list[Part]:
    parser = StreamParser(profile, tail, tools)
    parts = [part for piece in pieces for part in parser.push(piece)]
    return joined(parts + parser.finish())


fragments = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "<",
            "<thi",
            "hello ",
            "\n",
            "{",
            CALL,
            CALL[:45],
            CALL[45:],
        ]
    ),
    max_size=12,
).map("".join)


@given(
    fragments,
    st.lists(st.integers(1, 7), max_size=80),
    st.sampled_from(["", "<think>\n"]),
    st.sampled_from([None, TOOLS]),
)
def test_every_cutting_gives_the_same_parts(
    whole: str, sizes: list[int], tail: str, tools: Tools | None
) -> None:
    pieces, rest = [], whole
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]

    assert parse([*pieces, rest], tail, tools=tools) == parse([whole], tail, tools=tools)


def test_a_thought_a_text_and_a_call_come_apart() -> None:
    assert parse([f"<think>\nhm\n</think>\n\nI look. {CALL}"]) == [
        Thought("hm\n"),
        Text("I look. "),
        CallBegun("weather"),
        CallArguments('{"city": "Paris"}', is_last=True),
    ]


@pytest.mark.parametrize("end", [11, 14, 25, 30])
def test_the_beginning_of_a_call_is_no_text_if_a_limit_cut_the_reply(end: int) -> None:
    parser = StreamParser(HERMES, tools=TOOLS)

    parts = [*parser.push(f"Look: {CALL[:end]}"), *parser.finish(is_cut=True)]

    assert joined(parts) == [Text("Look: ")]


def test_the_beginning_of_a_tag_is_text_if_a_limit_cut_the_reply() -> None:
    parser = StreamParser(HERMES, tools=TOOLS)

    assert joined([*parser.push("a <tool"), *parser.finish(is_cut=True)]) == [Text("a <tool")]


def test_a_thought_that_the_prompt_has_opened_is_one() -> None:
    assert parse(["so\n</think>\n\nyes"], "<|im_start|>assistant\n<think>\n") == [
        Thought("so\n"),
        Text("yes"),
    ]


def test_malformed_calls_come_back_as_the_text_they_were() -> None:
    for body in ("no json", "[1]", json.dumps({"name": 3}), '{"name": "x", "arguments": []}'):
        whole = f"<tool_call>{body}</tool_call>"
        assert parse([whole]) == [Text(whole)]


def test_a_call_that_never_ends_comes_back_as_text() -> None:
    assert parse(['<tool_call>{"name"']) == [Text('<tool_call>{"name"')]


def test_arguments_come_while_they_are_written() -> None:
    parser = StreamParser(HERMES, tools=TOOLS)
    pieces = ['<tool_call>{"name": "weather", ', '"arguments": {"city', '": "Pa}', '\\"ris"}', "}"]

    told = [parser.push(piece) for piece in pieces]

    assert told == [
        [],
        [CallBegun("weather"), CallArguments('{"city', is_last=False)],
        [CallArguments('": "Pa}', is_last=False)],
        [CallArguments('\\"ris"}', is_last=True)],
        [],
    ]


def test_a_call_that_breaks_off_in_its_arguments_has_no_last_piece() -> None:
    begun = '<tool_call>{"name": "weather", "arguments": {"city": "Par'

    assert parse([begun], tools=TOOLS) == [
        CallBegun("weather"),
        CallArguments('{"city": "Par', is_last=False),
    ]


def test_a_tool_that_nobody_offered_is_told_when_its_call_is_whole() -> None:
    parser = StreamParser(HERMES, tools=TOOLS)
    call = '<tool_call>{"name": "clock", "arguments": {"zone": 1}}'

    assert parser.push(call) == []
    assert parser.push("</tool_call>") == [
        CallBegun("clock"),
        CallArguments('{"zone": 1}', is_last=True),
    ]


def test_a_long_call_takes_linear_time() -> None:
    whole = '<tool_call>{"name": "weather", "arguments": {"city": "' + "x" * 200_000

    parser = StreamParser(HERMES, tools=TOOLS)
    parts = [part for char in whole for part in parser.push(char)]

    assert joined(parts)[-1] == CallArguments('{"city": "' + "x" * 200_000, is_last=False)


def test_what_follows_a_malformed_call_keeps_its_blanks() -> None:
    whole = "<tool_call>x</tool_call>\n\n  and"

    assert parse([whole]) == [Text(whole)]


def test_only_line_breaks_are_dropped_after_a_thought() -> None:
    assert parse(["<think>a</think>\n\n  indented"]) == [Thought("a"), Text("  indented")]


def test_a_reply_of_many_tags_in_one_piece_takes_linear_time() -> None:
    whole = "<think>a</think>b" * 50_000  # minutes, if each tag copied the rest

    assert len(StreamParser(HERMES).push(whole)) == 100_000


def test_a_model_without_tags_just_talks() -> None:
    whole = f"<think>x</think>{CALL}"

    assert parse([whole], profile=profile_of(None)) == [Text(whole)]
