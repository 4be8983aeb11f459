"""Single constructs, each against what Go makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from tests.chat.gotemplate.conversations import TOOL_ROUND, TURNS, WEATHER, Conversation
from tests.chat.gotemplate.oracle import run
from tests.chat.gotemplate.rendering import rendered

if TYPE_CHECKING:
    from pathlib import Path

# every template speaks of .Messages and so is rendered once, with all of them
CASES = {
    "{{ len .Messages }}": "4",
    "a {{- /* gone */ -}} b{{ with .Messages }}{{ end }}": "ab",
    "x  {{- 3 -}}\n y{{ with .Messages }}{{ end }}": "x3y",
    "{{ range .Messages }}{{ .Role | printf `%.1s` }}{{ end }}": "suau",
    "{{ range $m := .Messages }}{{ len $m.Content }} {{ end }}": "24 26 3 41 ",
    "{{ range $i, $m := .Messages }}{{ $i }}{{ end }}": "0123",
    "{{ $n := 1 }}{{ range .Messages }}{{ $n = 2 }}{{ end }}{{ $n }}": "2",
    "{{ $n := 1 }}{{ range .Messages }}{{ $n := 2 }}{{ end }}{{ $n }}": "1",
    "{{ $n := 1 }}{{ if .Messages }}{{ $n := 2 }}{{ $n }}{{ end }}{{ $n }}": "21",
    "{{ $n := 0 }}{{ range $n = .Messages }}{{ end }}{{ $n.Role }}": "user",
    "{{ range $i, $_ := .Messages }}{{ if eq $i 1 }}{{ continue }}{{ end }}"
    "{{ if gt $i 2 }}{{ break }}{{ end }}{{ $i }}{{ end }}": "02",
    "{{ range .Nothing }}x{{ else }}none{{ end }}{{ range .Messages }}{{ end }}": "none",
    "{{ with .System }}{{ . }}{{ else }}-{{ end }}{{ if .Messages }}{{ end }}": (
        "You are kind.\nAnd brief."
    ),
    "{{ with $x := .Nothing }}a{{ else }}b{{ $x }}{{ end }}{{ len .Messages }}": "b<no value>4",
    "{{ if .Nothing }}a{{ else if .Messages }}b{{ else }}c{{ end }}": "b",
    "{{ if $x := .Nothing }}a{{ else if $y := .Messages }}{{ len $y }}{{ end }}": "4",
    "{{ (index .Messages 1).Role }} {{ (len .Messages) | eq 4 }}": "user true",
    "{{ len (slice .Messages 1 3) }}{{ len (slice .Messages 4) }}": "20",
    "{{ eq .Nothing `x` }}{{ ne .Nothing nil }}{{ len .Messages | lt 3 }}": "falsefalsetrue",
    "{{ and .Messages 0 }} {{ or .Nothing .Messages | len }} {{ not .Messages }}": "0 4 false",
    '{{ printf "%v %d" true 7 }}{{ if .Messages }}{{ end }}': "true 7",
    '{{ "\\x41\\u00e9\\101\\"" }}{{ `\\n` }}{{ if .Messages }}{{ end }}': 'AéA"\\n',
    "{{ 017 }} {{ 0b11 }} {{ -2 }} {{ 2.50 }} {{ '\\n' }}{{ if .Messages }}{{ end }}": (
        "15 3 -2 2.5 10"
    ),
    '{{ define "t" }}[{{ .Role }}{{ $.Content | len }}]{{ end }}'
    '{{ range .Messages }}{{ template "t" . }}{{ end }}': "[system24][user26][assistant3][user41]",
    '{{ define "a" }}{{ template "b" . }}{{ end }}{{ define "b" }}{{ . }}{{ end }}'
    '{{ template "a" "x" }}{{ block "c" 1 }}{{ . }}{{ end }}{{ if .Messages }}{{ end }}': "x1",
    '{{ define "t" }}{{ . }}{{ end }}{{ template "t" }}{{ if .Messages }}{{ end }}': "<no value>",
    "{{ json .Messages | len }}{{ json nil }}{{ json `<&>` }}": None,
    "{{ range .Tools }}{{ .Type }}{{ .Function.Parameters.Required }}{{ end }}"
    "{{ if .Messages }}{{ end }}": "function[city]",
    "{{ (index .Tools 0).Function.Parameters.Properties }}{{ if .Messages }}{{ end }}": None,
    "{{ .Tools }}{{ if .Messages }}{{ end }}": None,
    "{{ .Think }} {{ .IsThinkSet }} [{{ .ThinkLevel }}]{{ if .Messages }}{{ end }}": "true true []",
    "{{ println 1 `a` }}{{ print 1 2 `b` }}{{ if .Messages }}{{ end }}": "1 a\n1 2b",
    "{{ currentDate | len }}{{ eq currentDate (currentDate `x`) }}{{ if .Messages }}{{ end }}": (
        "10true"
    ),
}
ERRORS = [
    "{{ len .Nothing }}{{ .Messages }}",
    "{{ index .Messages 9 }}",
    "{{ range .Messages }}{{ .Absent }}{{ end }}",
    "{{ range .Messages }}{{ .Role.Deep }}{{ end }}",
    "{{ .System.Deep }}{{ if .Messages }}{{ end }}",
    "{{ eq 1 `1` }}{{ if .Messages }}{{ end }}",
    "{{ lt .Nothing 1 }}{{ if .Messages }}{{ end }}",
    "{{ slice .Messages 3 1 }}",
    "{{ range .System }}{{ end }}{{ if .Messages }}{{ end }}",
    "{{ index .System `a` }}{{ if .Messages }}{{ end }}",
]
SPOKEN = Conversation(TURNS, tools=[WEATHER])


@pytest.mark.parametrize(
    ("source", "expected"), [(k, v) for k, v in CASES.items() if v is not None]
)
def test_a_construct_means_what_it_means_in_go(source: str, expected: str) -> None:
    assert rendered(source, SPOKEN.messages, tools=SPOKEN.tools) == expected


@pytest.mark.parametrize("source", ERRORS)
def test_what_go_refuses_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match="fails on this conversation"):
        rendered(source, SPOKEN.messages, tools=SPOKEN.tools)


@pytest.mark.skipif(run.GO is None, reason="there is no Go here")
def test_go_agrees(tmp_path: Path) -> None:
    sources = [*CASES, *ERRORS]
    results = run.rendered(run.build(tmp_path), [SPOKEN.for_oracle(source) for source in sources])

    for source, result in zip(sources[: len(CASES)], results, strict=False):
        ours = rendered(source, SPOKEN.messages, tools=SPOKEN.tools)
        assert (source, ours) == (source, result.get("text"))
    assert all("error" in result for result in results[len(CASES) :])


def test_range_counts_to_a_number() -> None:
    # since Go 1.22, which is newer than the oracle may be
    assert rendered("{{ range $i := 3 }}{{ $i }}{{ end }}{{ if .Messages }}{{ end }}", []) == "012"


def test_numbers_of_a_tool_call_keep_their_digits() -> None:
    call = {"function": {"name": "f", "arguments": '{"big": 1234567, "float": 0.00001}'}}
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    source = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments }}"
        "{{ range $k, $v := .Function.Arguments }} {{ $v }}{{ end }}{{ end }}{{ end }}"
    )

    assert rendered(source, messages) == '{"big":1234567,"float":0.00001} 1234567 1e-05'


def test_a_result_finds_the_name_of_its_tool() -> None:
    messages = [
        {key: value for key, value in message.items() if key != "tool_name"}
        for message in TOOL_ROUND
    ]
    source = "{{ range .Messages }}{{ .ToolName }};{{ end }}"

    assert rendered(source, messages) == ";;;;;get_weather;clock;"


def test_what_a_schema_says_beyond_ollamas_fields_is_kept() -> None:
    schema = {
        "properties": {"n": {"minimum": 1, "type": "integer"}},
        "additionalProperties": False,
        "type": "object",
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}

    assert rendered("{{ json .Tools }}{{ if .Messages }}{{ end }}", [], tools=[tool]) == (
        '[{"type":"function","function":{"name":"f","description":"","parameters":'
        '{"type":"object","properties":{"n":{"type":"integer","minimum":1}},'
        '"additionalProperties":false}}}]'
    )


def test_types_can_be_written_as_typescript() -> None:
    source = (
        "{{ range .Tools }}{{ range .Function.Parameters.Properties }}"
        "{{ toTypeScriptType . }};{{ end }}{{ end }}{{ if .Messages }}{{ end }}"
    )

    assert rendered(source, [], tools=[WEATHER]) == "string;number | null;string;"


def test_an_older_template_gets_a_place_for_the_response() -> None:
    spoken = [turn for turn in TURNS if turn["role"] != "system"]

    assert rendered("<{{ .Prompt }}>", spoken) == (
        "<Hello, {{ you }} {% if %}!>Hi!<Why is <b>\"sky\"</b> blue & 'high'? é😀>"
    )
