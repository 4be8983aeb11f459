"""What every family has to keep: calls come back as they were written, however cut."""

from __future__ import annotations

import json
import keyword
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.chat.profiles.families import DROPPED, FAMILIES, HARMONY, HERMES, ReplyFamily
from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.formats.gemma_calls import GemmaCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.grammar import (
    ToolChoice,
    answer_frame,
    call_alternative,
    tool_grammar,
)
from localrun.chat.profiles.profile import Profile
from localrun.chat.profiles.tools import Tool, Tools
from localrun.chat.stream_parser import TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun, ToolCall, calls_of
from localrun.engine.constraints.grammar import grammar_of
from localrun.engine.params import ConstraintKind, ConstraintSpec
from tests.chat.profiles.written import cut, parse, tools_for, written

some = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
names = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and name not in {"directly_answer", "all", "type"}
)
# llguidance lets a model write DEL in JSON as an escape only
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
plain_text = st.text(st.sampled_from("abcXYZ 0123,.;:!?{}\"'\n\\/éλ漢"), max_size=20)
numbers = st.integers(-(10**9), 10**9) | st.booleans()
LEADS = {
    "harmony": "<|channel|>final<|message|>",
    "kimi-k3": "<|open|>response<|sep|>",
    "functionary-3.2": ">>>all\n",
}
sizes = st.lists(st.integers(1, 9), max_size=60)


def values_for(family: ReplyFamily) -> st.SearchStrategy[Any]:
    """Values that the form can write: some have no way to quote their own tags."""
    if isinstance(family.form, TaggedCalls | GemmaCalls):
        return plain_text | numbers
    return any_text | numbers | st.lists(st.integers(0, 9), max_size=3)


@st.composite
def call_lists(draw: st.DrawFn, family: ReplyFamily) -> list[ToolCall]:
    chosen = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    arguments = st.dictionaries(names, values_for(family), max_size=3)
    return [ToolCall(name, draw(arguments)) for name in chosen]


@each_family
@some
@given(data=st.data())
def test_calls_come_back_as_they_were_written(family: ReplyFamily, data: st.DataObject) -> None:
    calls = data.draw(call_lists(family))
    reply = written(family.form, calls)

    parts = parse(
        cut(reply, data.draw(sizes)), Profile(tool_call=family.form), tools=tools_for(calls)
    )

    assert calls_of(parts) == calls


@each_family
@some
@given(data=st.data())
def test_every_cutting_of_any_text_gives_the_same_parts(
    family: ReplyFamily, data: st.DataObject
) -> None:
    whole_call = written(family.form, [ToolCall("weather", {"city": "Paris", "days": 3})])
    region = family.form.region
    fragments = [
        whole_call,
        whole_call[: len(whole_call) // 2],
        *region.openings,
        region.closing,
        region.header_end,
        "<think>",
        "</think>",
        ">>>all\n",
        '"',
        "\\",
        "{",
        "]",
        "x\n",
    ]
    reply = "".join(data.draw(st.lists(st.sampled_from(fragments), max_size=10)))
    profile = Profile(
        thinking=Tags("<think>", "</think>"), tool_call=family.form, dropped=(">>>all\n",)
    )
    tools = tools_for([ToolCall("weather", {"city": "Paris", "days": 3})])
    tail = data.draw(st.sampled_from(["", "<think>\n", region.openings[0]]))

    parts = parse(cut(reply, data.draw(sizes)), profile, tail=tail, tools=tools)

    assert parts == parse([reply], profile, tail=tail, tools=tools)


@each_family
def test_a_broken_call_comes_back_as_text(family: ReplyFamily) -> None:
    reply = written(family.form, [ToolCall("weather", {"city": "Paris", "days": 3})])
    broken = reply[: reply.index("Paris")]

    parts = parse([broken], Profile(tool_call=family.form))

    assert parts == [TextPart(broken)]


@pytest.mark.parametrize(
    "family", [it for it in FAMILIES if it.form.head], ids=lambda family: family.name
)
def test_a_call_is_told_while_it_is_written(family: ReplyFamily) -> None:
    calls = [ToolCall("clock", {"zone": 1}), ToolCall("weather", {"city": "Paris"})]
    reply = written(family.form, calls)
    half = reply[: reply.index("aris")]

    parts = parse([half], Profile(tool_call=family.form), tools=tools_for(calls))

    assert [part for part in parts if not isinstance(part, TextPart)] == [
        CallBegun("clock"),
        CallArguments('{"zone": 1}', is_last=True),
        CallBegun("weather"),
        CallArguments('{"city": "P', is_last=False),
    ]


@each_family
@some
@given(data=st.data())
def test_the_grammar_takes_what_the_parser_reads(family: ReplyFamily, data: st.DataObject) -> None:
    llguidance = pytest.importorskip("llguidance")
    calls = data.draw(call_lists(family))
    profile = Profile(tool_call=family.form)
    grammar = tool_grammar(profile, tools_for(calls), ToolChoice(mode="required"))
    assert grammar
    assert grammar.trigger is None

    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), lark_grammar(grammar.lark))

    reply = written(family.form, calls).encode()
    assert matcher.try_consume_tokens(list(reply)) == len(reply), matcher.get_error()
    assert matcher.is_accepting()


@each_family
def test_the_lazy_grammar_begins_behind_its_trigger(family: ReplyFamily) -> None:
    llguidance = pytest.importorskip("llguidance")
    calls = [ToolCall("weather", {"city": "Paris", "days": 3}), ToolCall("other", {})]
    grammar = tool_grammar(Profile(tool_call=family.form), tools_for(calls), ToolChoice())
    if grammar is None:
        assert family.form.region.is_bare
        return

    assert grammar.trigger
    rest = written(family.form, calls).partition(grammar.trigger)[2].encode()
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), lark_grammar(grammar.lark))
    assert matcher.try_consume_tokens(list(rest)) == len(rest), matcher.get_error()
    assert matcher.is_accepting()


@each_family
def test_an_answer_of_some_form_or_a_call_can_come(family: ReplyFamily) -> None:
    llguidance = pytest.importorskip("llguidance")
    call = ToolCall("weather", {"city": "Paris", "days": 3})
    dropped = next(
        (
            tags
            for mark, tags in DROPPED.items()
            if mark.startswith(family.mark) or family.mark.startswith(mark)
        ),
        (),
    )
    profile = Profile(tool_call=family.form, dropped=dropped)
    spec = ConstraintSpec(
        kind=ConstraintKind.JSON_SCHEMA,
        text=json.dumps({"type": "object", "properties": {"name": {"type": "string"}}}),
        around=answer_frame(profile, {}, has_calls=True),
        calls=call_alternative(profile, tools_for([call]), ToolChoice()) or "",
    )

    lead = LEADS.get(family.name, "")
    for reply in (written(family.form, [call]), lead + '{"name": "weather"}', lead + "{}"):
        matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar_of(spec))
        data = reply.encode()
        assert matcher.try_consume_tokens(list(data)) == len(data), (reply, matcher.get_error())
        assert matcher.is_accepting()


def test_harmony_begins_its_turn_again_behind_a_thought() -> None:
    profile = Profile(tool_call=HARMONY, dropped=DROPPED["<|channel|>"])

    calls = answer_frame(profile, {"<|start|>": 7}, is_call=True)

    assert calls == 'start: (<[7]> "assistant")? @answer'
    assert answer_frame(Profile(tool_call=HERMES), {}, is_call=True) == ""


def test_schemas_of_bare_calls_keep_their_definitions() -> None:
    llguidance = pytest.importorskip("llguidance")
    llama = next(family.form for family in FAMILIES if family.form.region.is_bare)
    parameters = {
        "type": "object",
        "properties": {"day": {"$ref": "#/$defs/day"}},
        "$defs": {"day": {"enum": ["Monday"]}},
    }
    tools = Tools({"f": Tool("f", parameters), "g": Tool("g")})
    lark = call_alternative(Profile(tool_call=llama), tools, ToolChoice())
    assert lark

    for reply, is_right in (
        ('{"name": "f", "parameters": {"day": "Monday"}}', True),
        ('{"name": "g", "parameters": {}}', True),
        ('{"name": "f", "parameters": {"day": "Mon"}}', False),
    ):
        matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), lark_grammar(lark))
        assert (matcher.try_consume_tokens(list(reply.encode())) == len(reply)) is is_right


def lark_grammar(lark: str) -> str:
    llguidance = pytest.importorskip("llguidance")
    return str(llguidance.grammar_from("lark", lark))
