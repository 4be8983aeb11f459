from __future__ import annotations

import json
from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.remote.model import EngineKind
from tests.remote.asking import HELLO, completion, engine_fields, target

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("prompt", {"prompt_tokens": (1, 2)}),
        ("context", {"context": (1, 2)}),
        ("echo", {"echo": True, "logprobs": 1}),
        ("template", {"prompt": {"chat_template": "{{ x }}"}}),
    ],
)
def test_what_no_engine_can_carry_is_refused_by_name(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        engine_fields(**options)

    assert caught.value.param == field


def test_a_text_goes_to_the_route_of_texts() -> None:
    call = completion(target("http://127.0.0.1:9"), None, "Once", logprobs=2)
    body = json.loads(call.body_for(call.target.model.first))

    assert (call.path, call.is_chat, call.echo) == ("completions", False, None)
    assert body["logprobs"] == 2
    assert body["prompt"] == "Once"


def test_a_repeated_prompt_is_known_here() -> None:
    call = completion(target("http://127.0.0.1:9"), None, "Once", echo=True)

    assert call.echo == "Once"
    assert "echo" not in json.loads(call.body_for(call.target.model.first))


def test_a_gap_goes_to_engines_that_fill_gaps() -> None:
    assert engine_fields(messages=None, text="a", suffix="b")["suffix"] == "b"
    with pytest.raises(UsageError, match="suffix"):
        engine_fields(EngineKind.LLAMA_SERVER, messages=None, text="a", suffix="b")


def test_tools_and_their_choice() -> None:
    prompt = {"tools": (TOOL,)}

    auto = engine_fields(prompt=prompt)
    named = engine_fields(prompt=prompt, tool_choice="f", parallel_tool_calls=False)

    assert (auto["tools"], auto["tool_choice"]) == ([TOOL], "auto")
    assert named["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert named["parallel_tool_calls"] is False
    assert "tools" not in engine_fields()


def test_the_last_message_is_continued_where_the_engine_can() -> None:
    messages = [*HELLO, {"role": "assistant", "content": "Yes, "}]
    prompt = {"continue_final_message": True}

    vllm = engine_fields(EngineKind.VLLM, messages=messages, prompt=prompt)
    llama = engine_fields(EngineKind.LLAMA_SERVER, messages=messages, prompt=prompt)

    assert vllm["continue_final_message"] is True
    assert vllm["add_generation_prompt"] is False
    assert "continue_final_message" not in llama
    assert "continue_final_message" not in engine_fields(prompt=prompt)
    with pytest.raises(UsageError, match="continue_final_message"):
        engine_fields(EngineKind.OPENAI, messages=messages, prompt=prompt)


def test_prefixes_of_conversations_that_share_a_beginning() -> None:
    asked = target("http://127.0.0.1:9", "http://127.0.0.1:10")
    system = {"role": "system", "content": "S"}
    answer = {"role": "assistant", "content": "A"}

    one = completion(asked, [system, *HELLO]).prefixes
    longer = completion(asked, [system, *HELLO, answer, {"role": "user", "content": "x"}]).prefixes
    other = completion(asked, [system, {"role": "user", "content": "y"}]).prefixes

    assert longer[: len(one)] == one
    assert set(other).isdisjoint(longer)
    assert completion(target("http://127.0.0.1:9")).prefixes == ()


def test_a_call_shows_neither_prompt_nor_key() -> None:
    call = completion(target("http://127.0.0.1:9", key="hush"), None, "private", echo=True)

    assert "hush" not in repr(call)
    assert "private" not in repr(call)


def test_lone_surrogates_are_no_crash() -> None:
    call = completion(target("http://127.0.0.1:9"), [{"role": "user", "content": "a\ud800"}])

    assert json.loads(call.body_for(call.target.model.first))["messages"][0]["content"] == "a?"
