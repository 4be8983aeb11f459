"""A last message of the assistant is continued: the prompt ends inside it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from localrun.chat.continuation import can_continue, continued_content, continued_prompt, open_tag
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.profile import Profile
from localrun.chat.template import ChatTemplate

Message = dict[str, Any]

PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' %}"
    "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n"
    "{% endif %}"
    "{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
REFUSING = (
    "{% if messages[-1].role != 'user' %}{{ raise_exception('no user message') }}{% endif %}"
    + PLAIN
)
FORGETFUL = (  # of the thoughts in messages
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
QUESTION: Message = {"role": "user", "content": "hi"}
THOUGHTFUL = Profile(thinking=Tags("<think>", "</think>"), thought_end="\n</think>\n\n")


NO_PROFILE = Profile()


def prompt(source: str, final: Message, profile: Profile = NO_PROFILE) -> str:
    template = ChatTemplate(source, bos="", eos="")
    return continued_prompt(partial(template.render), [QUESTION, final], profile)


def answer(content: str = "", **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **fields}


def test_the_prompt_ends_where_the_message_ends() -> None:
    assert prompt(PLAIN, answer("The sum is ")) == "<|user|>hi<|end|><|assistant|>The sum is "


def test_a_message_with_a_thought_is_continued_behind_it() -> None:
    assert prompt(THINKING, answer("So: ", reasoning_content="Hm."), THOUGHTFUL) == (
        "<|user|>hi<|end|><|assistant|><think>\nHm.\n</think>\n\nSo: "
    )


@pytest.mark.parametrize(
    "final", [answer(reasoning_content="Let me"), answer("<think>\nLet me")], ids=["field", "tags"]
)
def test_a_thought_without_content_is_continued_inside(final: Message) -> None:
    written = prompt(THINKING, final, THOUGHTFUL)

    assert written == "<|user|>hi<|end|><|assistant|><think>\nLet me"
    assert open_tag(final, THOUGHTFUL) == "<think>"
    assert continued_content([QUESTION, final], THOUGHTFUL) == ""


def test_tags_of_a_thought_in_the_content_are_separated_from_it() -> None:
    final = answer("<think>\nHm.\n</think>\n\nSo: ")

    assert prompt(THINKING, final, THOUGHTFUL) == (
        "<|user|>hi<|end|><|assistant|><think>\nHm.\n</think>\n\nSo: "
    )
    assert open_tag(final, THOUGHTFUL) == "</think>"
    assert continued_content([QUESTION, final], THOUGHTFUL) == "So: "


def test_a_template_that_refuses_gets_the_message_behind_its_generation_prompt() -> None:
    assert prompt(REFUSING, answer("The sum ")) == "<|user|>hi<|end|><|assistant|>The sum "


@pytest.mark.parametrize(
    ("final", "end"),
    [
        (answer(reasoning_content="Let me"), "<|assistant|><think>\nLet me"),
        (answer("", reasoning_content=""), "<|assistant|><think>\n"),
    ],
    ids=["thought", "nothing"],
)
def test_what_the_template_leaves_out_follows_its_generation_prompt(
    final: Message, end: str
) -> None:
    assert prompt(FORGETFUL, final, THOUGHTFUL) == "<|user|>hi<|end|>" + end


def test_calls_and_other_roles_are_not_continued() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}

    assert not can_continue([])
    assert not can_continue([QUESTION])
    assert not can_continue([QUESTION, answer("x", tool_calls=[call])])
    assert can_continue([QUESTION, answer("x")])


def test_a_users_sentinel_does_not_move_the_end() -> None:
    template = ChatTemplate(PLAIN, bos="", eos="")
    question = {"role": "user", "content": "a\ufdd2b"}

    written = continued_prompt(template.render, [question, answer("so")], Profile())

    assert written == "<|user|>ab<|end|><|assistant|>so"


def test_a_prompt_without_a_generation_prompt_is_the_conversation_alone() -> None:
    template = ChatTemplate(PLAIN, bos="", eos="")

    assert template.render([QUESTION], add_generation_prompt=False) == "<|user|>hi<|end|>"


def test_the_profile_of_a_real_template_says_where_the_thought_ends() -> None:
    profile = discovered_profile(THINKING)

    assert prompt(THINKING, answer("x", reasoning_content="t"), profile).endswith("</think>\n\nx")
