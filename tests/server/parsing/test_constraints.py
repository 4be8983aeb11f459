"""What an answer must be, under the names of all servers, as it reaches the runner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError
from localrun.server.parsing.constraints import CONSTRAINTS, OLLAMA_FORMAT, openai_constraint
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.response_format import LARK as LARK_START
from localrun.server.parsing.response_format import grammar_constraint
from tests.measuring import grows_linearly

if TYPE_CHECKING:
    from tests.server.serving import Served

SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
GBNF, LARK = 'root ::= "a"', 'start: "a"'
JSON_OBJECT = ConstraintKind.JSON_OBJECT
JSON_SCHEMA = ConstraintKind.JSON_SCHEMA


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        ({"response_format": {"type": "json_object"}}, JSON_OBJECT, "response_format"),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            JSON_SCHEMA,
            "response_format",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": SCHEMA},
                }
            },
            JSON_SCHEMA,
            "response_format",
        ),
        # llama-server, Cohere, TGI and TensorRT-LLM
        *(
            ({"response_format": form}, JSON_SCHEMA, "response_format")
            for form in (
                {"type": "json_schema", "schema": SCHEMA},
                {"type": "json_object", "json_schema": SCHEMA},
                {"type": "json_object", "value": SCHEMA},
                {"type": "json", "value": SCHEMA},
                {"type": "json", "schema": SCHEMA},
            )
        ),
        ({"grammar": {"type": "json", "value": SCHEMA}}, JSON_SCHEMA, "grammar"),
        ({"nvext": {"guided_json": SCHEMA}}, JSON_SCHEMA, "nvext.guided_json"),
        ({"guided_json_object": True}, JSON_OBJECT, "guided_json_object"),
        ({"json_schema": SCHEMA}, JSON_SCHEMA, "json_schema"),
        ({"guided_json": SCHEMA}, JSON_SCHEMA, "guided_json"),
        ({"guided_json": json.dumps(SCHEMA)}, JSON_SCHEMA, "guided_json"),
        ({"structured_outputs": {"json": SCHEMA}}, JSON_SCHEMA, "structured_outputs.json"),
        (
            {"structured_outputs": {"json_object": True}},
            JSON_OBJECT,
            "structured_outputs.json_object",
        ),
    ],
)
def test_json_is_asked_for_in_many_ways(body: Any, kind: ConstraintKind, param: str) -> None:
    spec = openai_constraint(CONSTRAINTS.read(Fields(body)))

    assert spec is not None
    assert (spec.kind, spec.param) == (kind, param)
    if kind is JSON_SCHEMA:
        assert json.loads(spec.text) == SCHEMA
        assert spec.text.index('"b"') < spec.text.index('"a"')


@pytest.mark.parametrize(
    ("name", "value", "spec"),
    [
        ("regex", "a+", ConstraintSpec(kind=ConstraintKind.REGEX, text="a+")),
        ("choice", ["x", "y"], ConstraintSpec(kind=ConstraintKind.CHOICE, choices=("x", "y"))),
        ("grammar", GBNF, ConstraintSpec(kind=ConstraintKind.GBNF, text=GBNF)),
        ("grammar", LARK, ConstraintSpec(kind=ConstraintKind.LARK, text=LARK)),
    ],
)
def test_other_constraints_have_plain_guided_and_structured_names(
    name: str, value: Any, spec: ConstraintSpec
) -> None:
    for body in ({name: value}, {f"guided_{name}": value}, {"structured_outputs": {name: value}}):
        found = openai_constraint(CONSTRAINTS.read(Fields(body)))

        assert found is not None
        assert (found.kind, found.text, found.choices) == (spec.kind, spec.text, spec.choices)
        assert found.param.endswith(name)


@pytest.mark.parametrize(
    ("body", "kind", "text", "param"),
    [
        ({"ebnf": GBNF}, ConstraintKind.GBNF, GBNF, "ebnf"),
        ({"ebnf": LARK}, ConstraintKind.GBNF, LARK, "ebnf"),
        ({"grammar_string": GBNF}, ConstraintKind.GBNF, GBNF, "grammar_string"),
        ({"regex_pattern": "a+"}, ConstraintKind.REGEX, "a+", "regex_pattern"),
        ({"grammar": {"type": "regex", "value": "a+"}}, ConstraintKind.REGEX, "a+", "grammar"),
        ({"nvext": {"guided_grammar": LARK}}, ConstraintKind.LARK, LARK, "nvext.guided_grammar"),
        *(
            ({"response_format": form}, kind, text, "response_format")
            for form, kind, text in (
                ({"type": "grammar", "grammar": GBNF}, ConstraintKind.GBNF, GBNF),
                ({"type": "grammar", "grammar": LARK}, ConstraintKind.LARK, LARK),
                ({"type": "ebnf", "ebnf": GBNF}, ConstraintKind.GBNF, GBNF),
                ({"type": "regex", "pattern": "a+"}, ConstraintKind.REGEX, "a+"),
                ({"type": "regex", "value": "a+"}, ConstraintKind.REGEX, "a+"),
                ({"type": "regex", "regex": {"regex": "a+"}}, ConstraintKind.REGEX, "a+"),
            )
        ),
    ],
)
def test_names_of_single_servers_are_honoured(
    body: Any, kind: ConstraintKind, text: str, param: str
) -> None:
    assert openai_constraint(CONSTRAINTS.read(Fields(body))) == ConstraintSpec(
        kind=kind, text=text, param=param
    )


@pytest.mark.parametrize(
    ("grammar", "is_lark"),
    [
        ('?start: "a"', True),
        ('!start: "a"', True),
        ('start.2: "a"', True),
        ('start{x}: "a"', True),
        ("start[lazy]: /a::=b/", True),
        ('\n\r\n  // root ::= "a"\n# root ::= "a"\n  start : "a"', True),
        ("%import common.INT\nstart: INT", True),
        ("%llguidance {}\nstart: /a/", True),
        ('# start: "a"\n\nroot ::= "a:b"', False),
        ('root::= [:a]\nstart: "a"', False),
        ('root-1 ::=\n  "a"', False),
        ("", False),
        ("# start: a", False),
    ],
)
def test_the_first_rule_shows_whether_a_grammar_is_lark(grammar: str, *, is_lark: bool) -> None:
    kind = ConstraintKind.LARK if is_lark else ConstraintKind.GBNF

    assert grammar_constraint(grammar, "grammar").kind is kind


@pytest.mark.parametrize("line", ["\n", " \n", "# a:\n", "// ::=\n", "a", " ", "a ", "#"])
def test_the_kind_of_a_grammar_is_found_in_linear_time(line: str) -> None:
    assert grows_linearly(lambda size: LARK_START.match(line * size), 400_000)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"structural_tag": None, "grammar_lazy": False, "grammar_triggers": [], "ebnf": ""},
        {"guided_json_object": False, "nvext": {}, "guided_decoding_backend": "xgrammar"},
        {"response_format": {"type": "text"}, "grammar": "", "guided_choice": [], "regex": None},
        {"structured_outputs": {"json_object": False}},
    ],
)
def test_nothing_is_asked_for(body: Any) -> None:
    assert openai_constraint(CONSTRAINTS.read(Fields(body))) is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type must be"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema must"),
        ({"guided_json": [1]}, "guided_json must be"),
        ({"guided_regex": 3}, "guided_regex must be"),
        ({"guided_choice": [3]}, "guided_choice must be"),
        ({"grammar": GBNF, "regex": "a"}, "grammar cannot be combined with regex"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag is"),
        (
            {"structured_outputs": {"whitespace_pattern": " "}},
            "structured_outputs.whitespace_pattern",
        ),
        (
            {"structured_outputs": {"json": {}, "disable_additional_properties": True}},
            "structured_outputs.disable_additional_properties is",
        ),
        ({"structural_tag": "{}"}, "structural_tag is not supported"),
        ({"guided_json": SCHEMA, "guided_whitespace_pattern": " "}, "guided_whitespace_pattern is"),
        ({"grammar": GBNF, "grammar_lazy": True}, "grammar_lazy is not supported"),
        ({"grammar": GBNF, "grammar_triggers": [{"type": 1}]}, "grammar_triggers is not supported"),
        ({"logits_processors": ["x"]}, "logits_processors is not supported"),
        ({"custom_logit_processor": "x"}, "custom_logit_processor is not supported"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type must be"),
        ({"response_format": {"type": "grammar"}}, "response_format.grammar is required"),
        ({"response_format": {"type": "regex"}}, "response_format.pattern is required"),
        ({"response_format": {"type": "json", "value": 3}}, "response_format.value must be"),
        ({"ebnf": GBNF, "regex": "a"}, "ebnf cannot be combined with regex"),
        ({"guided_json_object": 1}, "guided_json_object must be"),
        ({"grammar": {"value": GBNF}}, "grammar needs a type"),
        ({"nvext": {"guided_regex": 3}}, "nvext.guided_regex must be"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}") as caught:
        openai_constraint(CONSTRAINTS.read(Fields(body)))

    assert complaint.startswith(str(caught.value.param))


def test_ollamas_format_is_json_or_a_schema() -> None:
    schema = OLLAMA_FORMAT.read(Fields({"format": SCHEMA}), "format")

    assert OLLAMA_FORMAT.read(Fields({"format": ""}), "format") is None
    assert OLLAMA_FORMAT.read(Fields({"format": "json"}), "format") == ConstraintSpec(
        kind=JSON_OBJECT, param="format"
    )
    assert schema == ConstraintSpec(kind=JSON_SCHEMA, text=json.dumps(SCHEMA), param="format")
    with pytest.raises(UsageError, match="format must be"):
        OLLAMA_FORMAT.read(Fields({"format": "xml"}), "format")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/chat", {"format": SCHEMA, "stream": False, "think": False}),
        ("/v1/chat/completions", {"guided_json": SCHEMA, "reasoning_effort": "none"}),
    ],
)
def test_a_constraint_reaches_the_runner(served: Served, path: str, fields: Any) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "echo"}], **fields}
    answer = httpx.post(f"{served.url}{path}", json=body).json()

    message = answer["message"] if "message" in answer else answer["choices"][0]["message"]
    constraint = json.loads(message["content"])["constraint"]
    assert constraint["kind"] == "json_schema"
    assert json.loads(constraint["text"]) == SCHEMA
