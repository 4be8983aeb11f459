"""What conversion itself promises: texts stay, errors name their place, bounds hold."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.gotemplate.converter import convert
from localrun.chat.gotemplate.lexer import MAX_SOURCE_CHARS, GoTemplateError
from tests.chat.gotemplate.rendering import rendered
from tests.measuring import plain_loops

ASK = [{"role": "user", "content": "hi"}]
LOUD = "{}%#-\"'\\ \n\r\tabé\U0001f600\x00\u2028"
IN_MESSAGES = "{{ range .Messages }}{{ end }}"

ERRORS = {
    "a\n {{ if }}x{{ end }}": (2, 8, "a value is missing"),
    "{{ if .A }}": (1, 4, "{{ if }} has no {{ end }}"),
    "x{{ end }}": (1, 5, "{{ end }} without a beginning"),
    "{{ .A": (1, 1, "the action is never closed"),
    "{{ .A\n": (1, 1, "the action is never closed"),
    "{{/* x }}": (1, 1, "the comment is never closed"),
    "{{/* x */ }}": (1, 8, "the comment ends before the action does"),
    '{{ "x }}': (1, 4, "unexpected '\"'"),
    "{{ .A[0] }}": (1, 6, "unexpected '[' after '.A'"),
    "{{ $x }}": (1, 4, "the variable $x is not declared here"),
    "{{ range .A }}{{ $x := . }}{{ end }}{{ $x }}": (1, 40, "$x is not declared here"),
    "{{ $x = 1 }}": (1, 4, "$x is not declared here"),
    "{{ frobnicate .A }}": (1, 4, "the function frobnicate is not known"),
    "{{ html .A }}": (1, 4, "the function html is not known"),
    "{{ .A | call .B }}": (1, 9, "the function call is not known"),
    "{{ not .A .B }}": (1, 4, "the function not does not take 2 arguments"),
    "{{ eq .A }}": (1, 4, "the function eq does not take 1 arguments"),
    "{{ .A .B }}": (1, 4, "'.A' is no function"),
    "{{ .A | .B }}": (1, 9, "'.B' is no function"),
    "{{ nil }}": (1, 4, "nil is not a command"),
    "{{ break }}": (1, 4, "{{ break }} outside of range"),
    "{{ range .A }}{{ else if .B }}{{ end }}": (1, 23, "expected '}}'"),
    "{{ if .A }}{{ else }}{{ else }}{{ end }}": (1, 25, "a second else"),
    '{{ template "x" . }}': (1, 4, "the template 'x' is not defined"),
    '{{ define "x" }}{{ template "x" . }}{{ end }}': (1, 20, "the template 'x' calls itself"),
    '{{ if 1 }}{{ define "x" }}{{ end }}{{ end }}': (1, 14, "{{ define }} inside"),
    "{{ template x }}": (1, 13, "a template's name in quotes is missing"),
    "{{ (.A }}": (1, 8, "unexpected '}}'"),
    "{{ .A ) }}": (1, 7, "unexpected ')'"),
    "{{ 12ab }}": (1, 6, "unexpected 'a' after '12'"),
    "{{ 99999999999999999999 }}": (1, 4, "malformed number"),
    r'{{ "\q" }}': (1, 4, "malformed string"),
    "{{ $a, $b := .A }}": (1, 4, "too many variables"),
    "{{ - }}": (1, 4, "unexpected '-'"),
}


@given(st.text(st.sampled_from(LOUD) | st.characters(exclude_categories=["Cs"])))
def test_text_without_actions_is_itself(text: str) -> None:
    plain = re.sub(r"\{(?=\{)", "{ ", text)

    assert rendered(plain, ASK) == plain
    assert rendered(f"{plain}.{IN_MESSAGES}", ASK) == f"{plain}."


@given(st.text(st.sampled_from(LOUD) | st.characters(exclude_categories=["Cs"])))
def test_a_string_in_an_action_is_itself(text: str) -> None:
    plain = text.replace("`", "'").replace("\r", "")

    assert rendered(f"{{{{ `{plain}` }}}}{IN_MESSAGES}", ASK) == plain


@given(st.text(st.sampled_from('{{}}-.$|()"`:=, \nifrangend/*Messages12')))
def test_any_text_converts_or_is_refused(text: str) -> None:
    with contextlib.suppress(GoTemplateError):
        assert convert(text)


@pytest.mark.parametrize(("source", "expected"), ERRORS.items())
def test_an_error_names_the_construct_and_its_place(
    source: str, expected: tuple[int, int, str]
) -> None:
    with pytest.raises(GoTemplateError) as caught:
        convert(source)

    assert expected[2] in caught.value.message
    assert (caught.value.line, caught.value.column) == expected[:2]
    assert f"line {expected[0]}, column {expected[1]}" in caught.value.message
    assert caught.value.hint


HOSTILE = {
    "deep if": "{{ if .A }}" * 5000 + "{{ end }}" * 5000,
    "deep range": "{{ range .A }}" * 30 + "{{ end }}" * 30,
    "deep parentheses": "{{ " + "(" * 5000 + ".A" + ")" * 5000 + " }}",
    "long pipeline": "{{ .A" + " | json" * 5000 + " }}",
    "nested pipelines": "{{ "
    + "(json (.A | json) | json | json) | json | json" * 1
    + " | json" * 30
    + " }}",
    "many operands": "{{ and" + " .A" * 5000 + " }}",
    "many fields": "{{ ." + ".".join(["A"] * 5000) + " }}",
    "many branches": "{{ if .A }}" + "{{ else if .A }}" * 5000 + "{{ end }}",
    "many templates": "".join(f'{{{{ define "{n}" }}}}{{{{ end }}}}' for n in range(5000)),
    "round of templates": '{{ define "a" }}{{ template "b" }}{{ end }}'
    '{{ define "b" }}{{ template "a" }}{{ end }}',
    "huge": "x" * (MAX_SOURCE_CHARS + 1),
    "open actions": "{{ " * 50_000,
    "open comments": "{{/*" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_without_bounds_is_refused_soon(name: str) -> None:
    def refuse() -> None:
        with pytest.raises(GoTemplateError):
            convert(HOSTILE[name])

    assert plain_loops(refuse) < 800


def test_the_deepest_template_that_converts_also_compiles() -> None:
    ifs = "{{ if .Messages }}" * 27 + "{{ range $.Messages }}" * 12
    nested = ".Role" + " | print" * 18
    source = f"{ifs}{{{{ {nested} }}}}{'{{ end }}' * 39}"

    assert rendered(source, ASK) == "user"


def test_the_result_names_what_the_template_makes_use_of() -> None:
    silent = convert("{{ range .Messages }}{{ .Content }}{{ end }}")
    speaking = convert("{{ .Messages }}{{ .Tools }}{{ if .Think }}{{ end }}{{ .ThinkLevel }}")

    assert all(name not in silent for name in ("tools", "enable_thinking", "reasoning_effort"))
    assert all(name in speaking for name in ("tools", "enable_thinking", "reasoning_effort"))
