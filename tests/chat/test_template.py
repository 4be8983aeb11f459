from __future__ import annotations

import pytest

from localrun.chat.template import ChatTemplate
from localrun.errors import UsageError

HELLO = [{"role": "user", "content": "hi <b> é"}]


def template(source: str | None) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>")


def test_a_model_without_a_template_gets_chatml() -> None:
    assert template(None).render(HELLO) == (
        "<|im_start|>user\nhi <b> é<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tojson_keeps_order_and_characters() -> None:
    source = "{{ messages[0] | tojson }}{{ bos_token }}"

    assert template(source).render(HELLO) == '{"role": "user", "content": "hi <b> é"}<s>'


def test_tojson_takes_what_hugging_faces_takes() -> None:
    source = "{{ messages[0] | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}"

    assert template(source).render(HELLO) == '{"content":"hi <b> \\u00e9","role":"user"}'


def test_options_and_tools_reach_the_template() -> None:
    source = "{{ enable_thinking }} {{ tools[0].name }}"

    assert (
        template(source).render(HELLO, tools=[{"name": "t"}], options={"enable_thinking": True})
        == "True t"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('only one user') }}",
        "{{ messages[0].content + 3 }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(999999999) %}x{% endfor %}",
        "{{ messages.append(1) }}",
    ],
)
def test_what_a_template_refuses_or_may_not_do_is_the_requests_error(source: str) -> None:
    with pytest.raises(UsageError, match="chat template"):
        template(source).render(HELLO)


def test_a_template_that_is_no_jinja_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="not valid"):
        template("{% for %}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [(r'{{ "a\ud800b" }}', "a\ufffdb"), (r'{{ "\ud83d\ude00" }}', "\U0001f600")],
)
def test_a_prompt_has_a_form_in_utf_8(source: str, expected: str) -> None:
    assert template(source).render(HELLO) == expected


@pytest.mark.parametrize(
    "source",
    [
        r"{{ raise_exception('\ud800') }}",
        "{{ raise_exception('x' * 10**6) }}",
        "{{ raise_exception(messages) }}",
        r"{{ raise_exception('a\nb\r  c') }}",
    ],
)
def test_what_a_template_raises_is_told_in_one_short_line_of_utf_8(source: str) -> None:
    with pytest.raises(UsageError) as caught:
        template(source).render(HELLO)

    assert len(caught.value.message.encode()) < 2000
    assert len(caught.value.message.splitlines()) == 1


def test_what_ever_a_template_raises_is_the_requests_error() -> None:
    with pytest.raises(UsageError, match="fails on this conversation"):
        template("{{ 1 // 0 }}").render(HELLO)
