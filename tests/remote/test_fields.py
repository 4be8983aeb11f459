from __future__ import annotations

from typing import Any

import pytest

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError
from localrun.remote.model import EngineKind
from localrun.server.parsing.options import SAMPLING
from tests.remote.asking import engine_fields

STRICT = (EngineKind.OPENAI, EngineKind.TGI)
LOOSE = tuple(kind for kind in EngineKind if kind not in STRICT)
OURS = (EngineKind.LOCALRUN, EngineKind.LLAMA_SERVER)
USED: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1.0, "frequency_penalty": 1.0, "seed": 3,
    "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.2, "min_tokens": 2, "ignore_eos": True,
    "typical_p": 0.5, "top_n_sigma": 1.0, "xtc_probability": 0.5, "dry_multiplier": 0.8,
    "dynatemp_range": 0.1, "mirostat": 1,
}  # fmt: skip
SCHEMA = ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text='{"type": "object"}', param="format")


def sent_or_refused(
    kind: EngineKind, sampling: dict[str, Any]
) -> tuple[dict[str, Any], UsageError | None]:
    try:
        return engine_fields(kind, sampling=sampling), None
    except UsageError as error:
        return {}, error


@pytest.mark.parametrize("kind", EngineKind)
@pytest.mark.parametrize("name", USED)
def test_a_parameter_is_sent_or_refused_by_name(name: str, kind: EngineKind) -> None:
    body, error = sent_or_refused(kind, {name: USED[name]})

    if error is None:
        assert body[name] == USED[name]
    else:
        assert error.param == name
        assert kind.value in error.message


def test_every_parameter_of_a_request_is_decided_for_every_engine() -> None:
    for kind in EngineKind:
        for name in (*SAMPLING, "dry_sequence_breakers"):
            value = ("x",) if "breakers" in name else 0.5
            _, error = sent_or_refused(kind, {name: value})
            assert error is None or error.param == name


@pytest.mark.parametrize("kind", STRICT)
def test_a_parameter_that_is_off_is_left_out_where_the_engine_lacks_it(kind: EngineKind) -> None:
    off = {
        "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "typical_p": 1.0, "mirostat": 0,
        "mirostat_tau": 5.0, "mirostat_eta": 0.1, "repeat_last_n": 64, "top_n_sigma": -1.0,
        "xtc_probability": 0.0, "xtc_threshold": 0.1, "dry_multiplier": 0.0, "dry_base": 1.75,
        "ignore_eos": False, "min_tokens": 0, "draft_num_predict": 8,
    }  # fmt: skip

    assert not set(engine_fields(kind, sampling=off)) & set(off)


def test_other_spellings_of_engines() -> None:
    body = engine_fields(EngineKind.VLLM, sampling={"repeat_penalty": 1.2, "top_k": 0})

    assert body["repetition_penalty"] == 1.2
    assert body["top_k"] == -1
    assert engine_fields(EngineKind.LOCALRUN, sampling={"top_k": 0})["top_k"] == 0
    assert engine_fields(sampling={"logit_bias": ((5, -1.0),)})["logit_bias"] == {"5": -1.0}


@pytest.mark.parametrize("kind", EngineKind)
def test_a_json_schema_goes_to_every_engine(kind: EngineKind) -> None:
    form = engine_fields(kind, constraint=SCHEMA)["response_format"]

    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("kind", "constraint", "sent"),
    [
        (EngineKind.LOCALRUN, ConstraintKind.LARK, {"structured_outputs": {"grammar": "x"}}),
        (EngineKind.VLLM, ConstraintKind.REGEX, {"structured_outputs": {"regex": "x"}}),
        (EngineKind.VLLM, ConstraintKind.LARK, None),
        (EngineKind.SGLANG, ConstraintKind.GBNF, {"ebnf": "x"}),
        (EngineKind.LLAMA_SERVER, ConstraintKind.GBNF, {"grammar": "x"}),
        (EngineKind.LLAMA_SERVER, ConstraintKind.REGEX, None),
        (EngineKind.COMPATIBLE, ConstraintKind.GBNF, None),
        (EngineKind.OPENAI, ConstraintKind.REGEX, None),
    ],
)
def test_a_grammar_goes_where_it_is_understood(
    kind: EngineKind, constraint: ConstraintKind, sent: dict[str, Any] | None
) -> None:
    spec = ConstraintSpec(kind=constraint, text="x", param="grammar")

    if sent is not None:
        assert engine_fields(kind, constraint=spec).items() >= sent.items()
        return
    with pytest.raises(UsageError, match="grammar") as caught:
        engine_fields(kind, constraint=spec)
    assert caught.value.param == "grammar"


def test_choices_are_a_list() -> None:
    spec = ConstraintSpec(kind=ConstraintKind.CHOICE, choices=("a", "b"), param="choice")

    body = engine_fields(EngineKind.VLLM, constraint=spec)

    assert body["structured_outputs"] == {"choice": ["a", "b"]}


def test_switches_of_reasoning_are_spelled_for_the_engine() -> None:
    options = {"template_options": {"enable_thinking": False, "reasoning_effort": "low"}}

    loose = engine_fields(EngineKind.VLLM, prompt=options, thinking_budget=50)
    openai = engine_fields(EngineKind.OPENAI, prompt=options)

    assert loose["chat_template_kwargs"]["enable_thinking"] is False
    assert loose["reasoning_effort"] == "low"
    assert loose["thinking_budget"] == 50
    assert openai["reasoning_effort"] == "low"
    assert "chat_template_kwargs" not in openai
    assert not {"chat_template_kwargs", "reasoning_effort"} & set(
        engine_fields(EngineKind.TGI, prompt=options)
    )


def test_the_most_tokens_of_an_answer() -> None:
    assert engine_fields(num_predict=5)["max_tokens"] == 5
    assert engine_fields(EngineKind.OPENAI, num_predict=5)["max_completion_tokens"] == 5
    assert "max_tokens" not in engine_fields()
    assert engine_fields(EngineKind.VLLM, messages=None, text="a")["max_tokens"] is None
    assert engine_fields(EngineKind.LOCALRUN, messages=None, text="a")["max_tokens"] == -1
