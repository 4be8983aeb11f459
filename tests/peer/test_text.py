"""Tokens and prompts are llama-server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.runner.messages import Detokenize, PromptSpec, Tokenize, Tokens

if TYPE_CHECKING:
    from tests.peer.conftest import Pair
    from tests.peer.pair import Json

TEXTS = (
    "", " ", "hello", " hello  world\n\n\tx", "\r\n x", "a" * 500, "é😀 naïve ﷽",
    "日本語のテキスト", "1234567890 3.14 it's I'll", "\u200b\ufeff\x00x", "<think>\n</think>",
    "<|im_start|>user\nHi<|im_end|>", "<|im_end|>\n<|im_end|>", "<|im_end",
)  # fmt: skip
CALL = {"type": "function", "id": "a1", "function": {"name": "get", "arguments": '{"a": 1}'}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get",
        "description": "Get it.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": ["integer", "null"]}},
            "required": ["a"],
        },
    },
}
CHATS: tuple[list[Json], ...] = (
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
        {"role": "user", "content": "\n x "},
    ],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "7", "tool_call_id": "a1"},
    ],
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_the_same_tokens_and_comes_back_the_same(guide: Pair, text: str) -> None:
    expected = guide.theirs.post(
        "/tokenize", {"content": text, "add_special": True, "parse_special": True}
    )["tokens"]
    back = guide.theirs.post("/detokenize", {"tokens": expected})["content"]

    tokens, _ = guide.ours.ask(Tokenize, prompt=PromptSpec(text=text))
    told, _ = guide.ours.ask(Detokenize, tokens=tuple(expected))

    assert isinstance(tokens, Tokens)
    assert list(tokens.tokens) == expected
    assert isinstance(told, Tokens)
    assert told.text == back


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("tools", [[], [TOOL]])
@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_becomes_the_same_prompt(
    guide: Pair,
    chat: list[Json],
    tools: list[Json],
    thinks: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    options = {"enable_thinking": thinks}
    expected = guide.theirs.post(
        "/apply-template", {"messages": chat, "tools": tools, "chat_template_kwargs": options}
    )["prompt"]

    prompt, _ = guide.ours.ask(
        Tokenize,
        prompt=PromptSpec(messages=tuple(chat), tools=tuple(tools), template_options=options),
    )

    assert isinstance(prompt, Tokens)
    assert prompt.text == expected
