"""Where the prompt of a chat ends: each API's way to have an assistant message continued."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.server.anthropic.request import parse_count
from localrun.server.ollama.call import parse_call
from localrun.server.openai.chat_request import parse_chat
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.prompt_end import PROMPT_END, PromptEnd, prompt_end

QUESTION = {"role": "user", "content": "hi"}
BEGUN = {"role": "assistant", "content": "The answer is"}
CALLING = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
}


def end(*messages: dict[str, Any], **fields: Any) -> PromptEnd:
    return prompt_end(PROMPT_END.read(Fields(fields)), messages)


NEW, CONTINUED = (
    PromptEnd(add_generation_prompt=True, continue_final_message=continues)
    for continues in (False, True)
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, CONTINUED),
        ({"continue_final_message": True}, CONTINUED),
        ({"add_generation_prompt": False}, replace(CONTINUED, add_generation_prompt=False)),
        (
            {"add_generation_prompt": False, "continue_final_message": True},
            replace(CONTINUED, add_generation_prompt=False),
        ),
        ({"continue_final_message": False}, NEW),
        ({"add_generation_prompt": True}, NEW),
        (
            {"add_generation_prompt": False, "continue_final_message": False},
            replace(NEW, add_generation_prompt=False),
        ),
    ],
)
def test_the_fields_say_whether_a_last_answer_goes_on(
    fields: dict[str, Any], expected: PromptEnd
) -> None:
    assert end(QUESTION, BEGUN, **fields) == expected


@pytest.mark.parametrize(
    ("messages", "fields"),
    [
        ((QUESTION, BEGUN), {"add_generation_prompt": True}),
        ((QUESTION,), {}),
        ((QUESTION, CALLING), {}),
        ((), {}),
    ],
    ids=["contradiction", "user", "calls", "none"],
)
def test_what_cannot_be_continued_is_refused(
    messages: tuple[dict[str, Any], ...], fields: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        end(*messages, continue_final_message=True, **fields)

    assert caught.value.param == "continue_final_message"


def test_chats_of_all_apis_continue() -> None:
    body = {"model": "m", "messages": [QUESTION, BEGUN], "max_tokens": 5}

    openai, anthropic = parse_chat(Fields(body)).request, parse_count(Fields(body))
    ollama = parse_call(Fields(body), "chat").request

    for request in (openai, anthropic, ollama):
        assert request.generation.prompt.continue_final_message
        assert request.generation.prompt.messages is not None
        assert request.generation.prompt.messages[-1]["content"] == "The answer is"
