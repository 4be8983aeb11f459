from __future__ import annotations

from typing import Any

import pytest

from localrun.chat.template import ChatTemplate
from localrun.errors import UsageError

LOOP = "{% for m in messages %}{% for c in m.tool_calls or [] %}"
ENDS = "{% endfor %}{% endfor %}"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def conversation(arguments: Any) -> list[dict[str, Any]]:
    call = {"id": "1", "function": {"name": "weather", "arguments": arguments}}
    return [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
    ]


def rendered(source: str, arguments: Any) -> str:
    return ChatTemplate(source, bos="", eos="").render(conversation(arguments))


@pytest.mark.parametrize("arguments", [{"city": "Ö"}, '{"city": "Ö"}'])
@pytest.mark.parametrize(
    "form",
    [
        "{{ c.function.arguments | tojson }}",
        "{{ c.function.arguments }}",
        "{{ '' + c.function.arguments }}",
    ],
)
def test_arguments_come_as_json_however_the_template_and_the_client_have_them(
    form: str, arguments: Any
) -> None:
    assert rendered(LOOP + form + ENDS, arguments) == '{"city": "Ö"}'


def test_arguments_that_are_no_json_stay_what_they_were() -> None:
    assert rendered(LOOP + "{{ c.function.arguments }}" + ENDS, "not {") == "not {"


def test_a_template_without_tools_is_told_of_them_in_words() -> None:
    source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"

    text = ChatTemplate(source, bos="", eos="").render(conversation({"city": "x"}), tools=[TOOL])

    assert text.startswith(
        '[user]You may call these functions, each given by a JSON object:\n{"name"'
    )
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "x"}}\n</tool_call>' in text
    assert text.endswith("[user]<tool_response>\nsunny\n</tool_response>")


@pytest.mark.parametrize(
    "source",
    [
        "{% set a = [] %}{% set _ = a.append('x') %}{% set _ = a.append('y') %}{{ a.pop(0) }}",
        "{% set n = namespace(a=['x']) %}{% set _ = n.a.append('y') %}{{ n.a[0] }}",
        "{% generation %}x{% endgeneration %}",
        "{{ functions }}x",
    ],
)
def test_templates_may_do_what_templates_in_use_do(source: str) -> None:
    assert ChatTemplate(source, bos="", eos="").render([{"role": "user"}]) == "x"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ messages.pop() }}",
        "{% set a = [] %}{% set b = [a] %}{{ a.append(1) }}",
        "{% set a = [] %}{% set b = {'a': a} %}{{ a.append(1) }}",
        "{% set a = [] %}{% set b = (a, 1) %}{{ a.append(1) }}",
        "{% set a = [] %}{{ a.append(a) }}",
        "{% set a = [] %}{% for i in range(99) %}{{ a.append('x' * 10**6) }}{% endfor %}",
    ],
)
def test_a_list_grows_only_while_it_stands_nowhere_else(source: str) -> None:
    with pytest.raises(UsageError, match="chat template"):
        ChatTemplate(source, bos="", eos="").render([{"role": "user"}])


def test_calls_that_an_empty_content_would_hide_are_written() -> None:
    source = (
        "{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}"
        "{{ '' + c.function.arguments }}{% endfor %}{% else %}<{{ m.content }}>{% endif %}"
        "{% endfor %}"
    )

    assert rendered(source, {"city": "Paris"}) == '<q>{"city": "Paris"}<sunny>'
