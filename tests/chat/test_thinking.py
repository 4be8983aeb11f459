"""Templates are told to think, or not to, in their own words."""

from __future__ import annotations

from typing import Any

import pytest

from localrun.chat.template import ChatTemplate
from localrun.chat.thinking import LEVELS, ReasoningTerms, may_reason_by_default

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
    translated = ReasoningTerms(source).translated(options)

    translated.pop("enable_thinking", None)
    assert translated == words


@pytest.mark.parametrize("level", [*LEVELS, "none"])
def test_a_template_that_refuses_unknown_levels_is_never_given_one(level: str) -> None:
    source = HY3 + "{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}"
    messages = [{"role": "user", "content": "Hi"}]

    written = ChatTemplate(source, bos="", eos="").render(
        messages, options={"enable_thinking": level != "none", "reasoning_effort": level}
    )

    assert written == "Hi"


QWEN3 = (
    "a{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
GUIDE_TEMPLATE = "a{% if enable_thinking %}<think>{% endif %}"
R1 = "a<think>"
FUSSY = "{{ raise_exception('two messages at least') }}"


@pytest.mark.parametrize(
    ("template", "expected"), [(QWEN3, True), (GUIDE_TEMPLATE, False), (R1, True), (FUSSY, True)]
)
def test_what_a_template_does_unasked_is_found_by_rendering(
    template: str, *, expected: bool
) -> None:
    assert may_reason_by_default(ChatTemplate(template, bos="", eos="").render) is expected
