"""The rules of a call: parameters in any order, line ends as they come, size for many tools."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from localrun.chat.profiles.families import FAMILIES
from localrun.chat.profiles.grammar import ToolChoice, tool_grammar
from localrun.chat.profiles.profile import Profile
from localrun.chat.profiles.tools import Tool, Tools

llguidance = pytest.importorskip("llguidance")
FORMS = {family.name: family.form for family in FAMILIES}
INTEGER = {"type": "integer"}


def tools_of(*tools: Tool) -> Tools:
    return Tools({tool.name: tool for tool in tools})


def tool(name: str, properties: dict[str, Any], *required: str) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, {**parameters, "additionalProperties": False})


def lark(name: str, tools: Tools) -> str:
    grammar = tool_grammar(Profile(tool_call=FORMS[name]), tools, ToolChoice(mode="required"))
    assert grammar
    return grammar.lark


def takes(name: str, tools: Tools, reply: str) -> bool:
    text = llguidance.grammar_from("lark", lark(name, tools))
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), text)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(reply.encode())
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())


def hermes(*keys: str) -> str:
    members = ", ".join(f'"{key}": 1' for key in keys)
    return f'<tool_call>\n{{"name": "f", "arguments": {{{members}}}}}\n</tool_call>'


def coder(*keys: str) -> str:
    parameters = "".join(f"<parameter={key}>\n1\n</parameter>\n" for key in keys)
    return f"<tool_call>\n<function=f>\n{parameters}</function>\n</tool_call>"


WRITERS = {"hermes": hermes, "qwen-coder": coder}


@pytest.mark.parametrize("family", WRITERS)
def test_parameters_come_in_any_order_each_once_and_the_required_ones_must(family: str) -> None:
    tools = tools_of(tool("f", dict.fromkeys("abcd", INTEGER), "b", "c"))

    for count in range(5):
        for keys in itertools.product("abcd", repeat=count):
            is_right = len(set(keys)) == count and {"b", "c"} <= set(keys)
            assert takes(family, tools, WRITERS[family](*keys)) is is_right, keys


@pytest.mark.parametrize("family", WRITERS)
def test_of_many_parameters_the_optional_ones_may_come_anywhere_and_have_an_end(
    family: str,
) -> None:
    keys = [f"p{number}" for number in range(9)]
    tools = tools_of(tool("f", dict.fromkeys(keys, INTEGER), "p7", "p2"))
    write = WRITERS[family]

    assert takes(family, tools, write("p7", "p0", "p2", "p8"))
    assert takes(family, tools, write("p5", "p2", "p7"))
    assert not takes(family, tools, write("p2", "p0"))
    assert not takes(family, tools, write(*["p0"] * 40, "p2", "p7"))


def test_more_required_parameters_than_are_followed_come_in_the_schemas_order() -> None:
    keys = [f"p{number}" for number in range(8)]
    tools = tools_of(tool("f", dict.fromkeys(keys, INTEGER), *keys))

    assert takes("hermes", tools, hermes(*keys))
    assert takes("hermes", tools, hermes("p1", "p0", *keys[2:]))
    assert not takes("hermes", tools, hermes(*keys[:-1]))


@pytest.mark.parametrize(
    "reply",
    [
        '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>',
    ],
)
def test_line_ends_around_a_call_may_be_missing(reply: str) -> None:
    assert takes("hermes", tools_of(tool("f", {"a": INTEGER})), reply)


def test_blanks_have_an_end() -> None:
    tools = tools_of(tool("f", {"a": INTEGER}))

    assert not takes("hermes", tools, "<tool_call>" + "\n" * 9 + '{"name": "f"')


@pytest.mark.parametrize("family", ["hermes", "qwen-coder", "gemma", "lfm2", "minimax-m3"])
def test_the_size_of_a_grammar_grows_as_the_number_of_tools(family: str) -> None:
    nested = {"type": "object", "properties": {"x": INTEGER, "y": {"type": "string"}}}

    def size(count: int) -> int:
        properties = {"a": INTEGER, "b": {"type": "array", "items": nested}, "c": nested}
        return len(lark(family, tools_of(*(tool(f"f{n}", properties, "a") for n in range(count)))))

    assert size(80) < 3 * size(40)
    assert size(40) < 40 * 2048
