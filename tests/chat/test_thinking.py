"""Templates are told to think, or not to, in their own words."""

from __future__ import annotations

from typing import Any

import pytest

from localrun.chat.template import ChatTemplate
from localrun.chat.thinking import LEVELS, thinking_words

OFF: dict[str, Any] = {"enable_thinking": False, "reasoning_effort": "none"}
ON: dict[str, Any] = {"enable_thinking": True}
GPT_OSS = '{% if not reasoning_effort is defined %}{% set reasoning_effort = "medium" %}{% endif %}'
HY3 = "{% if reasoning_effort not in ['high', 'low', 'no_think'] %}"
KIMI = "{% if thinking and thinking_effort not in ['low', 'high', 'max'] %}"


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("{% if thinking %}", ON, {"thinking": True}),
        ("{% if thinking_mode == 'x' %}", OFF, {"thinking_mode": "disabled"}),
        ("{% if thinking_budget == 0 %}", OFF, {"thinking_budget": 0}),
        (GPT_OSS, {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (GPT_OSS, {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (GPT_OSS, OFF, {"reasoning_effort": "low"}),
        (HY3, OFF, {"reasoning_effort": "no_think"}),
        (HY3, ON, {"reasoning_effort": "high"}),
        (HY3, {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}),
        (KIMI, {"reasoning_effort": "low"}, {"thinking_effort": "low"}),
        ("{% if thinking %}", {"thinking": "mine"}, {"thinking": "mine"}),
        ("{{ messages }}", OFF, {}),
    ],
)
def test_what_is_meant_is_said_in_the_words_of_the_template(
    source: str, options: dict[str, Any], words: dict[str, Any]
) -> None:
    said = thinking_words(source, options)

    said.pop("enable_thinking", None)
    assert said == words


@pytest.mark.parametrize("level", [*LEVELS, "none"])
def test_a_template_that_refuses_unknown_levels_is_never_given_one(level: str) -> None:
    source = HY3 + "{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}"
    messages = [{"role": "user", "content": "Hi"}]

    written = ChatTemplate(source, bos="", eos="").render(
        messages, options={"enable_thinking": level != "none", "reasoning_effort": level}
    )

    assert written == "Hi"
