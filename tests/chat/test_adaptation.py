"""Conversations that templates read in ways of their own: no thought or system text is lost."""

from __future__ import annotations

from typing import Any

import pytest

from localrun.chat.template import ChatTemplate
from localrun.errors import UsageError

THOUGHT, TEXT = "I look it up.", "One moment."
SYSTEM = {"role": "system", "content": "be brief"}
USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}
RESULT = {"role": "tool", "content": "r", "tool_call_id": "c", "name": "f"}
LINES = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
ONLY_FIRST = (
    "{% for m in messages %}{% if m.role != 'system' or loop.first %}"
    "{{ m.role }}: {{ m.content }}\n{% endif %}{% endfor %}"
)


def rendered(source: str, *messages: dict[str, Any], **options: Any) -> str:
    return ChatTemplate(source, bos="", eos="").render(messages, **options)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking", "thought"])
def test_a_thought_of_an_earlier_turn_has_the_name_that_the_template_reads(name: str) -> None:
    source = f"{{% for m in messages %}}{{{{ m.{name} }}}}|{{% endfor %}}"

    prompt = rendered(source, USER, {**ANSWER, "reasoning_content": THOUGHT})

    assert prompt == f"|{THOUGHT}|"


def test_a_name_that_the_template_does_not_read_is_not_given() -> None:
    prompt = rendered("{{ messages | tojson }}", {**ANSWER, "reasoning_content": THOUGHT})

    assert prompt.count(THOUGHT) == 1


def test_a_text_joins_the_thought_where_the_template_takes_only_one_with_a_call() -> None:
    source = (
        "{% for m in messages %}{% if m.tool_calls and m.content and m.thinking %}"
        "{{ raise_exception('Cannot pass both') }}{% endif %}"
        "<{{ m.thinking }}>{{ m.content }}{% endfor %}"
    )
    called = {"role": "assistant", "content": TEXT, "tool_calls": [CALL]}

    prompt = rendered(source, {**called, "reasoning_content": THOUGHT}, RESULT)

    assert prompt == f"<{THOUGHT}\n\n{TEXT}><>r"


@pytest.mark.parametrize(
    "source",
    [
        REFUSES + LINES,
        LINES.replace("{{ m.role", "{% if m.role != 'system' %}{{ m.role").replace(
            "{% endfor", "{% endif %}{% endfor"
        ),
    ],
)
def test_a_system_message_that_is_refused_or_ignored_goes_into_the_first_user_message(
    source: str,
) -> None:
    assert rendered(source, SYSTEM, USER, ANSWER) == "user: be brief\n\nq\nassistant: a\n"


def test_a_system_message_that_the_template_takes_stays() -> None:
    assert rendered(LINES, SYSTEM, USER) == "system: be brief\nuser: q\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages | length }}",
        "{{ messages[2].role }}{{ messages[1:] | length }}",
        (
            "{% if messages | length < 3 %}{{ raise_exception('too few') }}{% endif %}"
            "{{ messages | length }}"
        ),
    ],
)
def test_a_template_that_proves_nothing_gets_the_messages_as_they_are(source: str) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    answered = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]

    prompt = ChatTemplate(source, bos="", eos="").render([*messages, *answered])

    assert prompt in {"4", "assistant3"}


def test_a_later_system_message_goes_into_the_next_user_message() -> None:
    prompt = rendered(ONLY_FIRST, SYSTEM, USER, ANSWER, {**SYSTEM, "content": "in French"}, USER)

    assert prompt == "system: be brief\nuser: q\nassistant: a\nuser: in French\n\nq\n"


def test_a_system_message_at_the_end_follows_the_last_user_message() -> None:
    prompt = rendered(ONLY_FIRST, USER, {**SYSTEM, "content": "in French"})

    assert prompt == "user: q\n\nin French\n"


def test_the_tools_of_a_fallback_reach_a_template_without_system_messages() -> None:
    prompt = rendered(REFUSES + LINES, SYSTEM, USER, tools=[{"function": {"name": "weather"}}])

    assert prompt.startswith("user: be brief\n\n")
    assert "weather" in prompt


def test_another_refusal_is_still_told() -> None:
    with pytest.raises(UsageError, match="never"):
        rendered("{{ raise_exception('never') }}", SYSTEM, {**USER, "reasoning_content": THOUGHT})


TURNS = (
    "{% for m in messages %}{% if m.role == 'tool' %}[{{ m.content }}]"
    "{% else %}<turn {{ m.role }}>{{ m.content }}</turn>{% endif %}{% endfor %}"
)
FORGETFUL = "{% if add_generation_prompt and messages[-1].role != 'tool' %}<turn model>{% endif %}"


@pytest.mark.parametrize("content", ["", TEXT])
def test_the_models_turn_is_opened_behind_a_result_whose_turn_the_template_closed(
    content: str,
) -> None:
    source = TURNS.replace(
        "[{{ m.content }}]", "[{{ m.content }}]" + ("</turn>" if content else "")
    )
    called = {"role": "assistant", "content": content, "tool_calls": [CALL]}

    prompt = rendered(source + FORGETFUL, USER, called, RESULT)

    assert prompt.endswith("[r]</turn><turn model>" if content else "[r]")


def test_no_turn_is_opened_twice() -> None:
    source = TURNS + "{% if add_generation_prompt %}<turn model>{% endif %}"

    assert rendered(source, USER).count("<turn model>") == 1


def test_templates_that_ask_for_the_date_get_todays() -> None:
    source = "{{ date_string }}|{{ strftime_now('%d %b %Y') }}"

    stated, now = rendered(source, USER).split("|")

    assert stated == now


def test_a_date_that_the_request_states_stays() -> None:
    assert rendered("{{ date_string }}", USER, options={"date_string": "26 Jul 2024"}) == (
        "26 Jul 2024"
    )
