from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.profiles.tools import Tools
from localrun.chat.stream_parser import Part, ReasoningPart, StreamParser, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from tests.chat.profiles.by_text import profile_of
from tests.chat.profiles.written import cut, joined

if TYPE_CHECKING:
    from localrun.chat.profiles.profile import Profile

HERMES = profile_of("<think></think><tool_call></tool_call>")
TOOLS = Tools.of([{"function": {"name": "weather"}}])
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def parse(
    pieces: list[str],
    tail: str = "",
    profile: Profile = HERMES,
    tools: Tools | None = None,
    *,
    keeps_thoughts: bool = False,
) -> list[Part]:
    parser = StreamParser(profile, tail, tools, keeps_thoughts=keeps_thoughts)
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
        ReasoningPart("hm\n"),
        TextPart("I look. "),
        CallBegun("weather"),
        CallArguments('{"city": "Paris"}', is_last=True),
    ]


@pytest.mark.parametrize("end", [11, 14, 25, 30])
def test_the_beginning_of_a_call_is_no_text_if_a_limit_cut_the_reply(end: int) -> None:
    parser = StreamParser(HERMES, tools=TOOLS)

    parts = [*parser.push(f"Look: {CALL[:end]}"), *parser.finish(is_cut=True)]

    assert joined(parts) == [TextPart("Look: ")]


def test_the_beginning_of_a_tag_is_text_if_a_limit_cut_the_reply() -> None:
    parser = StreamParser(HERMES, tools=TOOLS)

    assert joined([*parser.push("a <tool"), *parser.finish(is_cut=True)]) == [TextPart("a <tool")]


def test_a_thought_that_the_prompt_has_opened_is_one() -> None:
    assert parse(["so\n</think>\n\nyes"], "<|im_start|>assistant\n<think>\n") == [
        ReasoningPart("so\n"),
        TextPart("yes"),
    ]


def test_malformed_calls_come_back_as_the_text_they_were() -> None:
    for body in ("no json", "[1]", json.dumps({"name": 3}), '{"name": "x", "arguments": []}'):
        whole = f"<tool_call>{body}</tool_call>"
        assert parse([whole]) == [TextPart(whole)]


def test_a_call_that_never_ends_comes_back_as_text() -> None:
    assert parse(['<tool_call>{"name"']) == [TextPart('<tool_call>{"name"')]


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

    assert parse([whole]) == [TextPart(whole)]


def test_only_line_breaks_are_dropped_after_a_thought() -> None:
    assert parse(["<think>a</think>\n\n  indented"]) == [ReasoningPart("a"), TextPart("  indented")]


def test_a_reply_of_many_tags_in_one_piece_takes_linear_time() -> None:
    whole = "<think>a</think>b" * 50_000  # minutes, if each tag copied the rest

    assert len(StreamParser(HERMES).push(whole)) == 100_000


def test_a_model_without_tags_just_talks() -> None:
    whole = f"<think>x</think>{CALL}"

    assert parse([whole], profile=profile_of(None)) == [TextPart(whole)]


LAW_PIECES = [
    "<think>",
    "</think>",
    CALL,
    "weather",
    "x" * 700,
    "<tool_call>",
    "\n",
    "so ",
    "</tool_call>",
]


@given(
    st.lists(st.sampled_from(LAW_PIECES), max_size=8).map("".join),
    st.lists(st.integers(1, 400), max_size=30),
)
def test_every_cutting_of_a_thought_with_calls_gives_the_same_parts(
    whole: str, sizes: list[int]
) -> None:
    assert parse(cut(whole, sizes), "<think>", tools=TOOLS) == parse(
        [whole], "<think>", tools=TOOLS
    )


def test_a_call_in_a_thought_that_is_never_closed_is_a_call() -> None:
    parts = parse(["I look it up.\n", CALL], "<think>\n", tools=TOOLS)

    assert parts[0] == ReasoningPart("I look it up.\n")
    assert parts[1:] == [CallBegun("weather"), CallArguments('{"city": "Paris"}', is_last=True)]


def test_a_call_in_a_thought_that_is_closed_later_was_only_thought_of() -> None:
    thought = f"Maybe {CALL} or not."

    assert parse([thought, "</think>\n\nNo."], "<think>", tools=TOOLS) == [
        ReasoningPart(thought),
        TextPart("No."),
    ]


def test_a_tag_in_a_thought_without_a_tool_behind_it_does_not_hold_the_thought_back() -> None:
    parser = StreamParser(HERMES, "<think>", TOOLS)
    before, after = "They want <tool_call> tags. ", "And so on. " * 100

    told = joined(parser.push(before) + parser.push(after))

    assert told == [ReasoningPart(before + after)]


def test_a_thought_without_tools_in_the_request_is_never_searched_for_calls() -> None:
    assert parse([CALL], "<think>") == [ReasoningPart(CALL)]


def test_a_second_opening_of_a_thought_is_no_part_of_it() -> None:
    assert parse(["<think>\nHm.</think>Yes."], "<think>\n") == [
        ReasoningPart("Hm."),
        TextPart("Yes."),
    ]


CODER = profile_of("tools <tool_call><function=")
CODER_CALL = "<function=weather>\n<parameter=city>\nParis\n</parameter>\n</function>"
PARIS = [CallBegun("weather"), CallArguments('{"city": "Paris"}', is_last=True)]


@pytest.mark.parametrize("reply", [CODER_CALL, CODER_CALL + "\n</tool_call>"])
def test_a_call_without_the_tags_of_its_section_is_a_call(reply: str) -> None:
    assert parse([reply], profile=CODER, tools=TOOLS) == PARIS


def test_a_section_behind_a_call_without_one_is_read_too() -> None:
    reply = f"{CODER_CALL}\n</tool_call>\n<tool_call>\n{CODER_CALL}\n</tool_call>"

    assert parse([reply], profile=CODER, tools=TOOLS) == PARIS * 2


def test_the_end_of_a_section_is_text_where_no_call_was() -> None:
    assert parse(["a </tool_call> b"], profile=CODER, tools=TOOLS) == [TextPart("a </tool_call> b")]


CDATA = profile_of('tools <function name="')


def test_tags_between_the_quotes_of_a_family_end_nothing() -> None:
    text = "a </param> b </function> c"
    call = f'<function name="weather"><param name="city"><![CDATA[{text}]]></param></function>'

    assert parse(list(call), profile=CDATA, tools=TOOLS) == [
        CallBegun("weather"),
        CallArguments(json.dumps({"city": text}), is_last=True),
    ]


HARMONY = profile_of("tools <|channel|>commentary <|channel|>analysis<|message|><|end|>")
START = "<|start|>assistant"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("<|channel|>final <|constrain|>json<|message|>{}", [TextPart("{}")]),
        ("<|channel|>commentary to=assistant<|channel|>final<|message|>Hi", [TextPart("Hi")]),
        ("<|channel|>commentary to=user<|message|>Hi", [TextPart("Hi")]),
        (" to=functions.weather<|channel|>commentary json<|message|>{}", [
            CallBegun("weather"), CallArguments("{}", is_last=True)]),
        (" to=functions.weather<|channel|>analysis<|message|>{}<|call|>", [
            CallBegun("weather"), CallArguments("{}", is_last=True)]),
        ("<|channel|>commentary to=python <|constrain|>code<|message|>1+1", [ReasoningPart("1+1")]),
        ("<|channel|>analysis<|message|>Hm.<|end|>" + START + "<|channel|>final<|message|>Hi",
         [ReasoningPart("Hm."), TextPart("Hi")]),
        ("Hi, write to=me", [TextPart("Hi, write to=me")]),
    ],
)  # fmt: skip
def test_headers_of_messages_say_what_a_message_is_and_never_show(
    reply: str, expected: list[Part]
) -> None:
    assert parse([reply], START, HARMONY, TOOLS) == expected
    assert parse(list(reply), START, HARMONY, TOOLS) == expected


K3 = profile_of("tools <|open|>response <|open|>think<|sep|> <|close|>think<|sep|>")


def test_the_tag_of_an_answer_ends_a_thought_that_was_not_closed() -> None:
    reply = "Hm.<|open|>response<|sep|>Hi<|close|>response<|sep|>"

    assert parse([reply], "<|open|>think<|sep|>", K3) == [ReasoningPart("Hm."), TextPart("Hi")]


GEMMA = profile_of("tools <|channel>thought <channel|> <|tool_call>")


@pytest.mark.parametrize(
    "reply",
    ["<|channel>thought\n<channel|>Hi<channel|>", "<|channel><|channel>thought\n<channel|>Hi"],
)
def test_stray_tags_of_a_thought_are_no_part_of_an_answer(reply: str) -> None:
    assert parse(list(reply), profile=GEMMA) == [TextPart("Hi")]


@pytest.mark.parametrize(
    ("tail", "reply", "expected"),
    [
        ("", "<think>\nHm.\n</think>\n\nYes.", "<think>\nHm.\n</think>\n\nYes."),
        ("user\n<think>\n", "\nHm.</think>\nYes.", "<think>\n\nHm.</think>\nYes."),
        ("<think>\n", "</think>Yes.", "<think>\n</think>Yes."),
        ("", "Yes.", "Yes."),
    ],
)
def test_thoughts_stay_in_the_text_as_they_were_written_where_they_are_kept(
    tail: str, reply: str, expected: str
) -> None:
    for pieces in ([reply], list(reply)):
        assert parse(pieces, tail, tools=TOOLS, keeps_thoughts=True) == [TextPart(expected)]


def test_a_call_in_an_open_thought_is_a_call_where_thoughts_are_kept() -> None:
    parts = parse(["Hm. ", CALL], "<think>", tools=TOOLS, keeps_thoughts=True)

    assert parts == [TextPart("<think>Hm. "), *PARIS]
