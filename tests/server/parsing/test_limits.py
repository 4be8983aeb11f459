"""What a request may hold: large ones of real clients pass, hostile ones are refused by name."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.chat.template import MAX_SOURCE_CHARS
from localrun.engine.constraints.grammar import LARGEST_TEXT
from localrun.errors import UsageError
from localrun.server.anthropic.request import parse_call as parse_messages
from localrun.server.ollama.call import parse_call as parse_ollama
from localrun.server.ollama.embeddings import parse_embed
from localrun.server.ollama.recipe import recipe_order
from localrun.server.openai.chat_request import parse_chat
from localrun.server.openai.completion_request import parse_completion
from localrun.server.openai.embeddings import parse_embeddings
from localrun.server.openai.responses.request import parse_call as parse_responses
from localrun.server.openai.responses.store import ResponseStore
from localrun.server.openai.tokens import parse_detokenize, parse_tokenize
from localrun.server.openai.tools import TOOLS, offered_tools
from localrun.server.parsing import limits
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.response_format import LARK
from localrun.server.parsing.role_order import merged
from tests.measuring import grows_linearly

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.serving import Served

MESSAGE = {"role": "user", "content": "hi"}
CHAT = {"model": "fake", "messages": [MESSAGE]}
ANTHROPIC = {**CHAT, "max_tokens": 5}
RESPONSES = {"model": "fake", "input": "hi"}
CREATE = {"model": "x", "from": "fake"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
MANY_STOPS = [str(number) for number in range(limits.MAX_STOPS + 1)]
LONG_STOP = ["x" * (limits.LONGEST_STOP + 1)]
LONG_NAME = "x" * (limits.LONGEST_NAME + 1)
LONG_TEMPLATE = "x" * (limits.LONGEST_TEMPLATE + 1)
LONG_GRAMMAR = "x" * (limits.LONGEST_GRAMMAR + 1)


def ollama(fields: Fields) -> object:
    return parse_ollama(fields, "chat")


def generate(fields: Fields) -> object:
    return parse_ollama(fields, "generate")


def responses(fields: Fields) -> object:
    return parse_responses(fields, ResponseStore())


@pytest.mark.parametrize(
    ("parse", "body", "param"),
    [
        (parse_chat, {**CHAT, "messages": [MESSAGE] * 10_001}, "messages"),
        (ollama, {**CHAT, "messages": [MESSAGE] * 10_001}, "messages"),
        (parse_messages, {**ANTHROPIC, "messages": [MESSAGE] * 10_001}, "messages"),
        (parse_tokenize, {**CHAT, "messages": [MESSAGE] * 10_001}, "messages"),
        (responses, {**RESPONSES, "input": [MESSAGE] * 10_001}, "input"),
        (recipe_order, {**CREATE, "messages": [MESSAGE] * 10_001}, "messages"),
        (parse_chat, {**CHAT, "tools": [TOOL] * 1025}, "tools"),
        (parse_chat, {**CHAT, "functions": [TOOL["function"]] * 1025}, "functions"),
        (parse_chat, {**CHAT, "tools": [{**TOOL, "x": "y" * 5_000_000}]}, "tools"),
        (ollama, {**CHAT, "tools": [TOOL] * 1025}, "tools"),
        (parse_messages, {**ANTHROPIC, "tools": [TOOL] * 1025}, "tools"),
        (responses, {**RESPONSES, "tools": [{**TOOL, "name": "n"}] * 1025}, "tools"),
        (parse_chat, {**CHAT, "stop": MANY_STOPS}, "stop"),
        (parse_chat, {**CHAT, "stop": LONG_STOP}, "stop"),
        (parse_completion, {"model": "fake", "prompt": "a", "stop": MANY_STOPS}, "stop"),
        (ollama, {**CHAT, "options": {"stop": MANY_STOPS}}, "options.stop"),
        (
            generate,
            {"model": "fake", "prompt": "a", "options": {"stop": LONG_STOP}},
            "options.stop",
        ),
        (parse_messages, {**ANTHROPIC, "stop_sequences": MANY_STOPS}, "stop_sequences"),
        (responses, {**RESPONSES, "stop": MANY_STOPS}, "stop"),
        (recipe_order, {**CREATE, "parameters": {"stop": MANY_STOPS}}, "parameters.stop"),
        (
            recipe_order,
            {"model": "x", "modelfile": "FROM fake\n" + "PARAMETER stop a\n" * 65},
            "modelfile",
        ),
        (parse_chat, {**CHAT, "dry_sequence_breakers": LONG_STOP}, "dry_sequence_breakers"),
        (parse_chat, {**CHAT, "model": LONG_NAME}, "model"),
        (ollama, {**CHAT, "model": LONG_NAME}, "model"),
        (generate, {"name": LONG_NAME}, "name"),
        (parse_messages, {**ANTHROPIC, "model": LONG_NAME}, "model"),
        (parse_chat, {**CHAT, "chat_template": LONG_TEMPLATE}, "chat_template"),
        (generate, {"model": "fake", "prompt": "a", "template": LONG_TEMPLATE}, "template"),
        (parse_chat, {**CHAT, "grammar": LONG_GRAMMAR}, "grammar"),
        (parse_chat, {**CHAT, "guided_regex": LONG_GRAMMAR}, "guided_regex"),
        (parse_chat, {**CHAT, "guided_choice": [LONG_GRAMMAR]}, "guided_choice"),
        (parse_chat, {**CHAT, "guided_choice": ["a"] * 4097}, "guided_choice"),
        (parse_chat, {**CHAT, "guided_json": {"title": LONG_GRAMMAR}}, "guided_json"),
        (ollama, {**CHAT, "format": {"title": LONG_GRAMMAR}}, "format"),
        (
            parse_chat,
            {**CHAT, "chat_template_kwargs": {"x": "y" * 2_000_000}},
            "chat_template_kwargs",
        ),
        (parse_tokenize, {**CHAT, "chat_template_kwargs": [1]}, "chat_template_kwargs"),
        (parse_chat, {**CHAT, "num_ctx": 2**31}, "num_ctx"),
        (ollama, {**CHAT, "options": {"num_ctx": 9e18}}, "options.num_ctx"),
        (parse_chat, {**CHAT, "keep_alive": 1e12}, "keep_alive"),
        (parse_chat, {**CHAT, "keep_alive": "1" * 40_000}, "keep_alive"),
        (parse_chat, {**CHAT, "logit_bias": {str(n): 1 for n in range(4097)}}, "logit_bias"),
        (parse_chat, {**CHAT, "n": 64, "messages": [{**MESSAGE, "content": "x" * 300_000}]}, "n"),
        (parse_completion, {"model": "fake", "n": 64, "prompt": "x" * 300_000}, "n"),
        (recipe_order, {"model": "x", "modelfile": "x" * 3_000_000}, "modelfile"),
        (parse_detokenize, {"model": "fake", "tokens": [1] * 300_000}, "tokens"),
        (parse_embed, {"model": "fake", "input": ["a"] * 2049}, "input"),
        (parse_embeddings, {"model": "fake", "input": ["a"] * 2049}, "input"),
        (responses, {**RESPONSES, "instructions": "x" * 5_000_000}, "instructions"),
    ],
)
def test_what_is_too_large_is_refused_by_name(
    parse: Callable[[Fields], object], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(Fields(body))

    assert caught.value.param == param
    assert len(caught.value.message) < 500


def test_a_large_request_of_an_agent_is_taken() -> None:
    schema = {
        "properties": {f"p{n}": {"type": "string", "description": "d" * 100} for n in range(9)}
    }
    tools = [
        {
            "type": "function",
            "function": {"name": f"f{n}", "description": "d" * 3000, "parameters": schema},
        }
        for n in range(100)
    ]
    messages = [
        {"role": "user" if n % 2 == 0 else "assistant", "content": "x" * 2000} for n in range(999)
    ]

    call = parse_chat(Fields({"model": "fake", "messages": messages, "tools": tools}))

    assert call.request.generation.prompt.messages is not None
    assert len(call.request.generation.prompt.messages) == 999
    assert len(call.request.generation.prompt.tools) == 100


def test_the_limits_are_those_of_the_runner() -> None:
    assert limits.LONGEST_TEMPLATE == MAX_SOURCE_CHARS
    assert limits.LONGEST_GRAMMAR == LARGEST_TEXT


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_chat, {**CHAT, "messages": [{"role": "\0" * 1_000_000}]}),
        (parse_messages, {**ANTHROPIC, "messages": [{"role": "x" * 1_000_000}]}),
        (responses, {**RESPONSES, "input": [{"type": "x" * 1_000_000}]}),
        (parse_chat, {**CHAT, "tool_choice": {"type": "function", "name": "x" * 1_000_000}}),
        (parse_chat, {**CHAT, "logit_bias": {"x" * 1_000_000: 1}}),
        (parse_chat, {**CHAT, "lora": ["x" * 1_000_000]}),
        (recipe_order, {**CREATE, "parameters": {"x" * 1_000_000: 1}}),
        (recipe_order, {"model": "x", "files": {"x" * 1_000_000: 1}}),
    ],
)
def test_a_message_does_not_repeat_a_long_value(
    parse: Callable[[Fields], object], body: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(Fields(body))

    assert len(caught.value.message) < 1000
    assert len(caught.value.param or "") < 300


def create(modelfile: str) -> object:
    return recipe_order(Fields({"model": "x", "modelfile": modelfile}))


def conversation(size: int) -> object:
    return merged({"role": "user", "content": "h" * 20} for _ in range(size))


def allowed_tools(size: int) -> object:
    named = [{"type": "function", "function": {"name": str(n)}} for n in range(size)]
    others = [{"type": "function", "name": f"x{n}"} for n in range(size)]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": others}
    return offered_tools(TOOLS.read(Fields({"tools": named, "tool_choice": choice})))


def declared_names(size: int) -> object:
    names = "".join(f"ARG b{number}=1\n" for number in range(size))
    return create(f"{names}FROM fake\nSYSTEM {'${a}' * size}")


@pytest.mark.parametrize(
    ("work", "size"),
    [
        (lambda size: LARK.match("\n" * size + "x"), 30_000),
        (lambda size: LARK.match("start" + " " * size + "\nstart" * size), 20_000),
        (conversation, 4_000),
        (allowed_tools, 250),
        (declared_names, 1_000),
        (lambda size: create('FROM fake\nSYSTEM<<E\nx"""\ny"\nEND' + "_" * size + "\nE"), 50_000),
        (
            lambda size: create(
                'FROM fake\nSYSTEM<<E\nx"""\ny"\n'
                + "".join(f"END_{n}\n" for n in range(size))
                + "\nE"
            ),
            5_000,
        ),
    ],
)
def test_time_grows_with_the_size_and_not_with_its_square(
    work: Callable[[int], object], size: int
) -> None:
    assert grows_linearly(work, size)


@pytest.mark.parametrize(("size", "is_elsewhere"), [(10, False), (limits.LONGEST_TEMPLATE, True)])
def test_a_large_body_is_read_beside_the_event_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch, size: int, *, is_elsewhere: bool
) -> None:
    threads: list[str] = []

    def noting(fields: Fields) -> object:
        threads.append(threading.current_thread().name)
        raise fields.wrong("x", "was seen")

    monkeypatch.setattr("localrun.server.openai.routes.parse_chat", noting)
    body = json.dumps({**CHAT, "x": "y" * size})

    response = httpx.post(f"{served.url}/v1/chat/completions", content=body)

    assert response.status_code == 400
    assert threads[0].startswith("parse") is is_elsewhere


def test_many_objects_in_a_field_that_nobody_knows_are_refused(served: Served) -> None:
    body = '{"model": "fake", "messages": [], "x": [' + "{}," * 300_000 + "{}]}"

    response = httpx.post(f"{served.url}/v1/chat/completions", content=body)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_a_long_number_in_a_query_is_refused(served: Served) -> None:
    url = f"{served.url}/v1/models?limit={'1' * 5000}"

    response = httpx.get(url, headers={"anthropic-version": "2023-06-01"})

    assert response.status_code == 400


@pytest.mark.parametrize("keep_alive", [1e12, 1e308, "99999999h", 2**62])
def test_a_time_that_has_no_date_is_refused_and_the_model_is_listed(
    served: Served, keep_alive: object
) -> None:
    body = {"model": "fake", "prompt": "say hi", "stream": False, "keep_alive": keep_alive}

    asked = httpx.post(f"{served.url}/api/generate", json=body)
    listed = [httpx.get(served.url + path) for path in ("/api/ps", "/metrics", "/api/localrun/ps")]

    assert asked.status_code == 400
    assert "keep_alive" in asked.json()["error"]
    assert [response.status_code for response in listed] == [200] * 3
