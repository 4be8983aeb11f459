from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.profiles.recognition import profile_of
from localrun.chat.stream_parser import Part, StreamParser, Text, Thought, ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import Profile

HERMES = profile_of("<think></think><tool_call></tool_call>")
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def parse(pieces: list[str], tail: str = "", profile: Profile = HERMES) -> list[Part]:
    parser = StreamParser(profile, tail)
    parts = [part for piece in pieces for part in parser.push(piece)]
    return joined(parts + parser.finish())


def joined(parts: list[Part]) -> list[Part]:
    """Join neighbours of one kind."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if isinstance(part, Text) and isinstance(last, Text):
            result[-1] = Text(last.text + part.text)
        elif isinstance(part, Thought) and isinstance(last, Thought):
            result[-1] = Thought(last.text + part.text)
        else:
            result.append(part)
    return result


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
        ]
    ),
    max_size=12,
).map("".join)


@given(fragments, st.lists(st.integers(1, 7), max_size=80), st.sampled_from(["", "<think>\n"]))
def test_every_cutting_gives_the_same_parts(whole: str, sizes: list[int], tail: str) -> None:
    pieces, rest = [], whole
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]

    assert parse([*pieces, rest], tail) == parse([whole], tail)


def test_a_thought_a_text_and_a_call_come_apart() -> None:
    assert parse([f"<think>\nhm\n</think>\n\nI look. {CALL}"]) == [
        Thought("hm\n"),
        Text("I look. "),
        ToolCall("weather", {"city": "Paris"}),
    ]


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
