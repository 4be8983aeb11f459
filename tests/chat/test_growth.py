"""What is read of a template's text takes time in proportion to it, however it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.chat.gotemplate.converter import convert
from localrun.chat.gotemplate.lexer import GoTemplateError
from localrun.chat.gotemplate.recognition import is_go_template
from localrun.chat.gotemplate.runtime import data
from localrun.chat.profiles.discovery import discovered_profile
from localrun.chat.profiles.families import FAMILIES, ReplyFamily
from localrun.chat.profiles.formats.values import value_of_text
from localrun.chat.profiles.tools import Tools
from localrun.chat.thinking import ReasoningTerms
from tests.chat.profiles.by_text import profile_of
from tests.measuring import grows_linearly

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 20_000
REPEATED = ["{#", "{{", "{%", "{% raw %}", "{{- ", "{{a ", "{{ . ", "'", '{{"', "\n", "x", "{{/*"]
EFFORT = "{{ reasoning_effort }}{% if x %}"


def repetition(part: str, start: str) -> Callable[[int], str]:
    return lambda size: start + part * (size // len(part))


def converted(text: str) -> None:
    try:
        convert(text)
    except GoTemplateError:
        return


@pytest.mark.parametrize("part", REPEATED)
def test_recognition_is_linear(part: str) -> None:
    text = repetition(part, EFFORT)

    assert grows_linearly(lambda size: is_go_template(text(size)), SIZE)
    assert grows_linearly(lambda size: profile_of(text(size)), SIZE)


@pytest.mark.parametrize("part", REPEATED)
def test_the_words_for_thinking_are_found_in_linear_time(part: str) -> None:
    text = repetition(part, EFFORT)
    options = {"enable_thinking": True, "reasoning_effort": "low"}

    assert grows_linearly(lambda size: ReasoningTerms(text(size)).translated(options), SIZE)


@pytest.mark.parametrize("part", [*REPEATED, "{{.A}}", "{{if .A}}x{{end}}", '{{"a"}}', "{{/*x*/}}"])
def test_a_go_template_is_converted_in_linear_time(part: str) -> None:
    text = repetition(part, "{{.A}}")

    assert grows_linearly(lambda size: converted(text(size)), SIZE)


def test_so_are_variables() -> None:
    def text(size: int) -> str:
        declared = "".join(f"{{{{$a{number}:=.B}}}}" for number in range(size // 40))
        return "{{$q:=.B}}" + declared + "{{$q}}" * (size // 12)

    assert grows_linearly(lambda size: converted(text(size)), SIZE)


def test_messages_of_one_role_in_a_row_are_joined_in_linear_time() -> None:
    def messages(size: int) -> list[dict[str, object]]:
        return [{"role": "user", "content": "word " * 20}] * size

    assert grows_linearly(lambda size: data(messages(size)), 1000)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_blanks_before_a_call_are_divided_in_one_way_only(family: ReplyFamily) -> None:
    head = family.form.head

    if head is not None:
        assert grows_linearly(lambda size: head.match("}" + " " * size), 100)


def test_a_template_that_writes_a_call_many_times_is_not_taken_apart() -> None:
    call = "tools {{ messages | tojson }}"

    assert grows_linearly(
        lambda size: discovered_profile(call + " zqtool zqcity zqparis" * size), 25
    )


def test_the_type_of_a_parameter_is_found_without_the_others() -> None:
    def read(size: int) -> None:
        properties = {f"p{number}": {"type": "integer"} for number in range(size)}
        tools = Tools.of([{"name": "f", "parameters": {"properties": properties}}])
        for name in properties:
            value_of_text("1", tools.by_name["f"].schema_of(name))

    assert grows_linearly(read, 500)
