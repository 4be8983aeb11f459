"""Each kind of constraint on the real model; what is wrong or hostile is refused in time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError
from tests.engine.answering import CHAT, schema, written
from tests.measuring import plain_loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.constraints.compiler import GrammarCompiler
    from tests.engine.answering import Answerer

NAMES = st.sampled_from(["name", "a b", 'quo"te', "größe", "x"])
TEXTS = st.text(max_size=6).filter(lambda text: text.isprintable())
LEAVES: st.SearchStrategy[dict[str, Any]] = (
    st.just({"type": "boolean"})
    | st.just({"type": "null"})
    | st.builds(lambda size: {"type": "string", "maxLength": size}, st.integers(0, 5))
    | st.builds(
        lambda low, extent: {"type": "integer", "minimum": low, "maximum": low + extent},
        st.integers(-500, 500),
        st.integers(0, 300),
    )
    | st.builds(
        lambda values: {"enum": values}, st.lists(TEXTS | st.integers(-(2**53), 2**53), min_size=1)
    )
    | st.builds(lambda value: {"const": value}, TEXTS)
)


def arrays(items: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda item, low, extent: {
            "type": "array", "items": item, "minItems": low, "maxItems": low + extent,
        },
        items, st.integers(0, 2), st.integers(0, 2),
    )  # fmt: skip


def objects(values: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, values, max_size=3).flatmap(
        lambda properties: st.builds(
            lambda required: {
                "type": "object", "properties": properties, "required": sorted(required),
            },
            st.sets(st.sampled_from(sorted(properties))) if properties else st.just(set()),
        )
    )  # fmt: skip


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        arrays(inner)
        | objects(inner)
        | st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=5,
)


def satisfies(value: Any, rule: dict[str, Any]) -> bool:
    """Check the part of JSON Schema that `SCHEMAS` draws from."""
    if "anyOf" in rule:
        return any(satisfies(value, part) for part in rule["anyOf"])
    if "enum" in rule:
        return value in rule["enum"]
    if "const" in rule:
        return bool(value == rule["const"])
    return CHECKS[rule["type"]](value, rule)


CHECKS: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "boolean": lambda value, _: isinstance(value, bool),
    "null": lambda value, _: value is None,
    "string": lambda value, rule: isinstance(value, str) and len(value) <= rule["maxLength"],
    "integer": lambda value, rule: (
        type(value) is int and rule["minimum"] <= value <= rule["maximum"]
    ),
    "array": lambda value, rule: (
        isinstance(value, list)
        and rule["minItems"] <= len(value) <= rule["maxItems"]
        and all(satisfies(item, rule["items"]) for item in value)
    ),
    "object": lambda value, rule: (
        isinstance(value, dict)
        and set(rule["required"]) <= set(value) <= set(rule["properties"])
        and all(satisfies(item, rule["properties"][name]) for name, item in value.items())
    ),
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rule=SCHEMAS, seed=st.integers(0, 1000))
def test_any_answer_satisfies_its_schema(
    answerer: Answerer, rule: dict[str, Any], seed: int
) -> None:
    text = answerer.answer(schema(rule), seed=seed)

    assert satisfies(json.loads(text), rule), text


def test_json_mode_gives_an_object(answerer: Answerer) -> None:
    spec = written(ConstraintKind.JSON_OBJECT, "")
    prompt = CHAT.replace("Hello!", "Answer in JSON: What is 2 + 2?")

    assert isinstance(json.loads(answerer.answer(spec, prompt=prompt, heat=0)), dict)


@pytest.mark.parametrize("expression", [r"[a-f]{3}-\d{2,4}", r"(ja|nein|größer) ?!?", r"a/b\.c"])
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_matches_its_expression(answerer: Answerer, expression: str, seed: int) -> None:
    text = answerer.answer(written(ConstraintKind.REGEX, expression), seed=seed)

    assert re.fullmatch(expression, text)


def test_every_choice_can_come_and_nothing_else(answerer: Answerer) -> None:
    choices = ("yes", "yes, but", 'a "b"\\', "größe\n", "😀", "\0\x7f\u2028", "")
    spec = ConstraintSpec(kind=ConstraintKind.CHOICE, choices=choices)

    answers = {answerer.answer(spec, seed=seed, heat=8.0) for seed in range(120)}

    assert answers == set(choices)


def test_a_lark_grammar_is_obeyed(answerer: Answerer) -> None:
    grammar = 'start: item ("," item){2}\nitem: "a" | "b" DIGIT\nDIGIT: /[0-9]/'
    text = answerer.answer(written(ConstraintKind.LARK, grammar))

    assert re.fullmatch(r"(a|b\d)(,(a|b\d)){2}", text)


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= "x" word{2,3}\nword ::= "-" [a-c]+ "."', r"x(-[abc]+\.){2,3}"),
        (r'root ::= "\u00e9" [\u00e0-\u00e5]{2} "\x41\u0022"', 'é[à-å]{2}A"'),
        ('root ::= ( "a" |\n "b" ) end # which\nend ::= "/" | "\\\\"', r"[ab][/\\]"),
    ],
)
def test_a_gbnf_grammar_is_obeyed(answerer: Answerer, grammar: str, pattern: str) -> None:
    text = answerer.answer(written(ConstraintKind.GBNF, grammar))

    assert re.fullmatch(pattern, text)


def test_a_format_that_is_not_known_says_nothing(answerer: Answerer) -> None:
    rule = {
        "type": "object",
        "properties": {
            "format": {"type": "string", "format": "path", "maxLength": 5},
            "when": {"anyOf": [{"type": "string", "format": "date"}]},
            "what": {"const": {"format": "binary"}},
        },
        "required": ["format", "when", "what"],
    }

    value = json.loads(answerer.answer(schema(rule), seed=3, heat=2.0))

    assert list(value) == ["format", "when", "what"]
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value["when"])
    assert value["what"] == {"format": "binary"}


def test_an_object_may_have_hundreds_of_properties_that_may_be_absent(
    answerer: Answerer,
) -> None:
    names = {f"p{n}" for n in range(400)}
    rule = {"type": "object", "properties": {name: {"type": "boolean"} for name in sorted(names)}}

    value = json.loads(answerer.answer(schema(rule), seed=3, heat=0.5))

    assert value.keys() <= names


def test_recursion_is_taken(answerer: Answerer) -> None:
    tree = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"enum": ["a", "b"]},
                    "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
                },
                "required": ["name", "next"],
            }
        },
        "$ref": "#/$defs/node",
    }

    node = json.loads(answerer.answer(schema(tree)))

    while node is not None:
        assert set(node) == {"name", "next"}
        node = node["next"]


def test_parts_of_an_object_are_not_closed_against_each_other(answerer: Answerer) -> None:
    part = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    whole = {
        "properties": {"a": True, "b": {"const": 2}},
        "required": ["b"],
        "additionalProperties": False,
    }
    parts = {"$defs": {"part": part}, "allOf": [{"$ref": "#/$defs/part"}, whole]}

    assert json.loads(answerer.answer(schema(parts))) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (schema({"type": "strin"}), "strin"),
        (schema({"type": "array", "contains": {}}), '"contains", which is not supported'),
        (schema({"properties": {"a": {"not": {}}}}), '"not"'),
        (schema({"type": "string", "pattern": "(a"}), "pattern .*unclosed group"),
        (schema({"oneOf": [{"type": "integer"}, {"type": "number"}]}), '"oneOf"'),
        (schema({"$ref": "#/$defs/x"}), r"/\$defs/x"),
        (schema({"$ref": "#"}), "no text"),
        (schema({"type": "integer", "minimum": 5, "maximum": 2}), "minimum"),
        (written(ConstraintKind.JSON_SCHEMA, "{"), "not JSON"),
        (written(ConstraintKind.JSON_SCHEMA, "[1]"), "object"),
        (written(ConstraintKind.JSON_SCHEMA, '{"enum": [NaN]}'), "not JSON"),
        (written(ConstraintKind.JSON_SCHEMA, r'{"const": "\ud800"}'), "not JSON"),
        (schema({"$ref": "file:///etc/passwd"}), "does not fetch"),
        (written(ConstraintKind.REGEX, "a)"), "unopened group"),
        (written(ConstraintKind.REGEX, "(?=a)b"), "look-around"),
        (written(ConstraintKind.LARK, "start: b\n\nb: c"), 'line 3: unknown name: "c"'),
        (written(ConstraintKind.LARK, "start: x\nx: x"), "no text"),
        (written(ConstraintKind.LARK, ""), "[Ee]mpty"),
        (written(ConstraintKind.GBNF, 'root ::= "a"\nb := "c"'), "line 2"),
        (written(ConstraintKind.GBNF, "root ::= other"), "no rule is named 'other'"),
        (written(ConstraintKind.GBNF, 'root ::= "\\'), "inside an escape"),
        (written(ConstraintKind.CHOICE, ""), "no text to choose"),
    ],
)
def test_what_is_wrong_is_named(answerer: Answerer, spec: ConstraintSpec, complaint: str) -> None:
    with pytest.raises(UsageError, match=rf"^{spec.param} .*{complaint}") as caught:
        answerer.grammars.constrain(spec)

    assert caught.value.param == spec.param
    assert "\n" not in caught.value.message


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"items": found}
    return found


def chained_references() -> dict[str, Any]:
    """Return a schema whose references, written out, have 2^60 parts."""
    links: dict[str, Any] = {
        f"d{n}": {
            "anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"items": {"$ref": f"#/$defs/d{n + 1}"}}]
        }
        for n in range(60)
    }
    return {"$defs": links | {"d60": {"type": "string"}}, "$ref": "#/$defs/d0"}


def chain_of_references(length: int) -> dict[str, Any]:
    links = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(length)}
    return {"$defs": links | {f"d{length}": {"type": "string"}}, "$ref": "#/$defs/d0"}


HOSTILE = {
    "chain": schema(chain_of_references(2500)),
    "chain of rules": written(
        ConstraintKind.LARK,
        "start: r0\n" + "".join(f'r{n}: "a" r{(n + 1) % 4000}?\n' for n in range(4000)),
    ),
    "choices": ConstraintSpec(
        kind=ConstraintKind.CHOICE, choices=tuple(f"option {n}" for n in range(9000))
    ),
    "deep": schema(nested(500)),
    "references": schema(chained_references()),
    "enum": schema({"enum": [f"value {n}" for n in range(9000)]}),
    "large enum": schema({"enum": [f"value {n}" for n in range(100_000)]}),
    "properties": schema({"properties": {f"p{n}": {"type": "string"} for n in range(3500)}}),
    "lengths": schema({"type": "string", "minLength": 10**6, "maxLength": 10**9}),
    "repetition": written(ConstraintKind.REGEX, "(a{1000}){1000}"),
    "alternatives": written(ConstraintKind.REGEX, "(.*a){300}b"),
    "blow-up": written(ConstraintKind.REGEX, "(a|b)*a(a|b){400}"),
    "groups": written(ConstraintKind.REGEX, "(" * 20_000 + "a" + ")" * 20_000),
    "ambiguous": written(ConstraintKind.LARK, 'start: start start start | "a" | ""'),
    "long rule": written(ConstraintKind.LARK, "start: " + '"a" ' * 30_000),
    "parentheses": written(ConstraintKind.GBNF, "root ::= " + "(" * 20_000),
    "rules": written(ConstraintKind.GBNF, "".join(f"r{n} ::= r{n + 1}\n" for n in range(9000))),
    "large": written(ConstraintKind.GBNF, 'root ::= "' + "a" * 10**6 + '"'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_constraints_cost_a_bounded_time(answerer: Answerer, name: str) -> None:
    def spend() -> None:  # also the time of the thread that compiles grammars
        spend_tokens(answerer.grammars, HOSTILE[name], np.random.default_rng(1))

    assert plain_loops(spend) < 2000


def spend_tokens(
    grammars: GrammarCompiler, spec: ConstraintSpec, chance: np.random.Generator
) -> None:
    """Compile, and draw tokens by chance until the end or a refusal."""
    try:
        constraint = grammars.constrain(spec)
    except UsageError:
        return
    for _ in range(500):
        logits = chance.standard_normal(4096).astype(np.float32)
        constraint.mask(logits)
        constraint.accept(int(logits.argmax()))
        if constraint.failure:
            return


def test_a_constraint_that_becomes_too_slow_lets_only_the_end_through(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, budget_s in (("FIRST_S", 0.1), ("TOKEN_S", 0.001)):
        monkeypatch.setattr(f"localrun.engine.constraints.grammar_matcher.{name}", budget_s)
    constraint = answerer.grammars.constrain(HOSTILE["ambiguous"])
    (letter,) = answerer.model.tokenize("a")
    logits = np.zeros(4096, dtype=np.float32)

    for _ in range(2000):
        if constraint.failure:
            break
        constraint.mask(logits)
        constraint.accept(letter)
    logits[:] = 1
    constraint.mask(logits)

    assert constraint.failure is not None
    assert set(np.flatnonzero(np.isfinite(logits))) <= answerer.model.eog


def test_a_constraint_that_costs_too_much_time_is_refused(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.engine.constraints.grammar_matcher.FIRST_S", 0.0)

    with pytest.raises(UsageError, match="takes too long"):
        answerer.grammars.constrain(written(ConstraintKind.REGEX, "only this once"))


def test_a_grammar_is_compiled_once_and_its_users_are_apart(answerer: Answerer) -> None:
    spec = written(ConstraintKind.REGEX, "a+b")
    first, second = (answerer.grammars.constrain(spec) for _ in range(2))
    (letter,) = answerer.model.tokenize("a")
    logits = np.zeros(4096, dtype=np.float32)

    first.accept(letter)
    second.mask(logits)

    assert np.isfinite(logits[letter])
