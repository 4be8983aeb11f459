"""The law of every template: its grammar and its parser take the calls that it writes itself."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.grammar import ToolChoice, tool_grammar
from localrun.chat.profiles.tools import Tools
from localrun.chat.stream_parser import StreamParser
from localrun.chat.template import ChatTemplate
from localrun.chat.tool_calls import ToolCall, calls_of
from tests.chat.profiles.test_discovery import KNOWN, UNKNOWN

if TYPE_CHECKING:
    from localrun.chat.profiles.profile import Profile

FOLDER = os.environ.get("LOCALRUN_TEST_TEMPLATES", "")
QUESTION, RESULT = "zqquestion", "zqresult"
PROPERTIES: dict[str, Any] = {
    "city": {"type": "string"},
    "days": {"type": "integer"},
    "metric": {"type": "boolean"},
    "ratio": {"type": "number"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "place": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "open": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "unit": {"type": "string", "enum": ["C", "F"]},
}


def definition(name: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    described = {key: {**value, "description": key} for key, value in properties.items()}
    parameters = {
        "type": "object",
        "properties": described,
        "required": list(required),
        "additionalProperties": False,
    }
    function = {"name": name, "description": name, "parameters": parameters}
    return {"type": "function", "function": function}


DEFINITIONS = [definition("weather", PROPERTIES, "city"), definition("now", {})]
TOOLS = Tools.of(DEFINITIONS)
PARIS = ToolCall("weather", {"city": "Paris"})
SHAPES: dict[str, list[ToolCall]] = {
    "one": [PARIS],
    "another order": [ToolCall("weather", {"days": 3, "city": "São Paulo"})],
    "quotes": [ToolCall("weather", {"city": 'say "hi" it\'s \\ ok'})],
    "lines": [ToolCall("weather", {"city": "a <b>\nc & d\n"})],
    "scalars": [
        ToolCall("weather", {"city": "P", "days": -3, "metric": True, "ratio": 1.5, "unit": "F"})
    ],
    "a list": [ToolCall("weather", {"city": "P", "tags": ["a", "b c"]})],
    "an object": [ToolCall("weather", {"city": "P", "place": {"name": "x", "open": False}})],
    "an empty list": [ToolCall("weather", {"city": "P", "tags": []})],
    "nothing": [ToolCall("now", {})],
    "two": [PARIS, ToolCall("now", {})],
}
MANY = {"two"}
# what a template cannot write so that anybody could read it, or does not write at all
RECIPIENT_FOLLOWS = "<|start|>assistant"  # a reply begins in the header of a message
WRITES_NO_CALLS = "writes no calls"
EXCEPTIONS: dict[str, set[str] | str] = {
    "CohereForAI-c4ai-command-r-plus-tool_use": {"another order"},  # JSON over several lines
    "GigaChat3-10B-A1.8B": MANY,  # writes the first call only
    "GigaChat3.1-10B-A1.8B": MANY,
    "LFM2-8B-A1B": WRITES_NO_CALLS,
    "LFM2.5-Instruct": WRITES_NO_CALLS,
    "LFM2.5-8B-A1B": {"quotes", "lines"},  # in quotes, with nothing escaped
    "google-gemma-2-2b-it": MANY,  # refuses two results
    "muse-glimmer": set(SHAPES),  # a grammar of calls lacks the header of their message
    "openai-gpt-oss-120b": MANY,  # writes the first call only
    "ibm-granite-granite-3.3-2B-Instruct": WRITES_NO_CALLS,
    "Reka-Edge": {"another order"},  # escapes letters that llguidance leaves as they are
    "meta-llama-Llama-3.1-8B-Instruct": MANY,  # refuses two calls
    "meta-llama-Llama-3.2-3B-Instruct": MANY,
    "meta-llama-Llama-3.3-70B-Instruct": MANY,
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": set(SHAPES) - MANY,  # leaves one call open
}


def foreign() -> list[Any]:
    if not FOLDER:
        reason = "LOCALRUN_TEST_TEMPLATES names no folder"
        return [pytest.param("", marks=pytest.mark.skip(reason=reason))]
    return [path.stem for path in sorted(Path(FOLDER).glob("*.jinja"))]


@functools.lru_cache(maxsize=1)
def profile_of(source: str) -> Profile:
    """Return a template's profile, whose discovery takes longer than all shapes of its calls."""
    return discovered_profile(source)


@functools.lru_cache(maxsize=1)
def compiled(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos="", eos="")


@functools.lru_cache(maxsize=1)
def grammar_of(source: str) -> str:
    grammar = tool_grammar(profile_of(source), TOOLS, ToolChoice(mode="required"))
    assert grammar
    return grammar.lark


def history(source: str, calls: list[ToolCall]) -> str:
    """Return what a template writes of an answer with calls, before their results."""
    ids = [f"abc12345{index}" for index in range(len(calls))]
    functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
    stated = [
        {"id": one, "type": "function", "function": function}
        for one, function in zip(ids, functions, strict=True)
    ]
    results = [
        {"role": "tool", "content": RESULT, "tool_call_id": one, "name": call.name}
        for one, call in zip(ids, calls, strict=True)
    ]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "", "tool_calls": stated},
        *results,
    ]
    prompt = compiled(source).render(messages, tools=DEFINITIONS)
    return prompt.rpartition(QUESTION)[2].partition(RESULT)[0]


def check(source: str, shapes: dict[str, list[ToolCall]]) -> None:
    profile = profile_of(source)
    assert profile.tool_call
    region = profile.tool_call.region
    before = [RECIPIENT_FOLLOWS] * profile.prompt_tail.endswith(RECIPIENT_FOLLOWS)
    for shape, calls in shapes.items():
        text = history(source, calls)
        opening = next((tag for tag in (*before, *region.all_openings) if tag in text), "{")
        assert opening in text, shape
        reply = text[text.index(opening) :].removeprefix("".join(before))
        assert read(source, reply) == calls, (shape, reply)
        if profile.prompt_tail.rstrip().endswith(opening):
            reply = reply.removeprefix(opening)
        assert not read(source, beyond(source, reply)), shape


def read(source: str, reply: str) -> list[ToolCall]:
    profile = profile_of(source)
    tail = profile.prompt_tail if profile.channels else ""
    parser = StreamParser(profile, tail, TOOLS)
    return calls_of([*parser.push(reply), *parser.finish()])


def beyond(source: str, reply: str) -> str:
    """Return what the grammar leaves of a reply, from where the reply could have ended."""
    llguidance = pytest.importorskip("llguidance")
    lark = llguidance.grammar_from("lark", grammar_of(source))
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), lark)
    assert not matcher.is_error(), matcher.get_error()
    data = reply.encode()
    ends = []
    for index, byte in enumerate(data):
        if matcher.is_accepting():
            ends.append(index)
        if matcher.is_stopped() or not matcher.try_consume_tokens([byte]):
            break
    else:
        ends += [len(data)] * matcher.is_accepting()
    assert ends, (reply, matcher.get_error())
    return data[ends[-1] :].decode()


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_the_grammar_of_a_template_takes_the_calls_that_it_writes(name: str) -> None:
    shapes = {shape: calls for shape, calls in SHAPES.items() if shape not in MANY}

    check((KNOWN | UNKNOWN)[name], shapes)


@pytest.mark.parametrize("name", foreign())
def test_the_grammar_of_a_foreign_template_takes_the_calls_that_it_writes(name: str) -> None:
    source = (Path(FOLDER) / f"{name}.jinja").read_text()
    exceptions = EXCEPTIONS.get(name, set())
    if exceptions == WRITES_NO_CALLS:
        assert "Paris" not in history(source, [PARIS])
        return

    check(source, {key: calls for key, calls in SHAPES.items() if key not in exceptions})
