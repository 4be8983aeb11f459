"""What a model writes, and why it ends, is what llama-server says.

On tiny models in F32, where sums in another order change next to nothing, answers are equal
to the token, drawn ones too: the samplers are the same and stand in the same order. On
quantized ones equally likely tokens may change places, so their scores are compared.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.params import ConstraintKind, ConstraintSpec
from tests.peer.pair import CONTEXT, GREEDY, Answer

if TYPE_CHECKING:
    from localrun.engine.params import SamplingParams
    from tests.peer.conftest import Pair

NEW = 24
PROMPTS = (
    "<|im_start|>user\nHow do I download a model?<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time",
    "one two three one two three one two",
)
CONTROL = re.compile(r"</?think>|</?tool_call>|</?tool_response>")  # their text is without these
FREE = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.2, "seed": 7}
SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "repeat": {"repeat_penalty": 1.5, "repeat_last_n": 8},
    "presence": {"presence_penalty": 0.7, "frequency_penalty": 0.4},
    "bias": {"logit_bias": ((300, 5.0), (260, -100.0))},
    "dry": {"dry_multiplier": 0.8},
    "ignore_eos": {"ignore_eos": True},
    "drawn": {"temperature": 0.8, "seed": 7, "top_p": 0.9, "min_p": 0.0, "top_k": 40},
    "min_p": {**FREE, "min_p": 0.05},
    "typical": {**FREE, "typical_p": 0.7},
    "sigma": {**FREE, "top_n_sigma": 1.0},
    "xtc": {**FREE, "top_k": 40, "xtc_probability": 0.5, "xtc_threshold": 0.1},
    "dynamic": {**FREE, "dynatemp_range": 0.5},
    "mirostat 1": {"temperature": 1.0, "seed": 7, "mirostat": 1},
    "mirostat 2": {"temperature": 1.0, "seed": 7, "mirostat": 2},
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"enum": [1, 22]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def facts(answer: Answer) -> tuple[object, ...]:
    text = CONTROL.sub("", answer.text)
    return (text, str(answer.reason), answer.stop, answer.num_prompt, answer.num_generated)


def is_telling(answer: Answer) -> bool:
    """Return whether a text can be compared: bytes that are no character have two spellings."""
    return "\ufffd" not in answer.text


@pytest.mark.parametrize("name", SAMPLINGS)
def test_the_same_tokens_are_drawn(tiny: Pair, name: str) -> None:
    fields = SAMPLINGS[name]
    bias = {"logit_bias": [*fields["logit_bias"]]} if "logit_bias" in fields else {}

    for prompt in PROMPTS:
        ours = tiny.ours.generate(prompt, _sampling(fields), num_predict=NEW)
        theirs = tiny.theirs.generate(prompt, n_predict=NEW, **{**fields, **bias})

        assert facts(ours) == facts(theirs)


def test_an_answer_ends_where_the_context_does(tiny: Pair) -> None:
    ours = tiny.ours.generate(PROMPTS[1], _sampling({"ignore_eos": True}))
    theirs = tiny.theirs.generate(PROMPTS[1], ignore_eos=True)

    assert facts(ours) == facts(theirs)
    assert ours.num_prompt + ours.num_generated == CONTEXT


def test_a_stop_string_ends_it_at_the_same_place(tiny: Pair) -> None:
    whole = tiny.ours.generate(PROMPTS[2], num_predict=NEW)
    if not is_telling(whole):
        pytest.skip("this random model writes no characters")

    for place in range(1, len(whole.text) - 3, 17):
        stops = [whole.text[place : place + 3], "never"]
        ours = tiny.ours.generate(PROMPTS[2], num_predict=NEW, stop=tuple(stops))
        theirs = tiny.theirs.generate(PROMPTS[2], n_predict=NEW, stop=stops)

        assert facts(ours) == facts(theirs)
        assert ours.stop == stops[0]


def test_an_answer_of_guide_ends_for_the_same_reason(guide: Pair) -> None:
    ours = guide.ours.generate(PROMPTS[0])
    theirs = guide.theirs.generate(PROMPTS[0])

    assert facts(ours) == facts(theirs)
    assert ours.reason == "stop"


def check_scores(pair: Pair, prompt: str, tolerance: float) -> None:
    """Both find the same tokens likely, up to where the answers part; no answer ends at once."""
    sampling = _sampling({"ignore_eos": True})
    ours = pair.ours.generate(prompt, sampling, num_predict=6, logprobs=5)
    theirs = pair.theirs.generate(prompt, n_predict=6, n_probs=5, ignore_eos=True)

    assert ours.scores
    for number, (one, other) in enumerate(zip(ours.scores, theirs.scores, strict=False)):
        known = dict(other[2])
        assert one[1] == pytest.approx(other[1], abs=tolerance)
        shared = [piece for piece, _ in one[2] if piece in known]
        assert len(shared) >= 3
        assert all(dict(one[2])[piece] == pytest.approx(known[piece], abs=0.2) for piece in shared)
        if one[0] != other[0]:
            assert number > 0
            return


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_are_as_likely(tiny: Pair, prompt: str) -> None:
    if not is_telling(tiny.ours.generate(prompt, num_predict=6)):
        pytest.skip("this random model writes no characters")
    check_scores(tiny, prompt, 5e-3)  # f16 sums differ by the size of the chunks


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_of_quantized_models_are_as_likely(quantized: Pair, prompt: str) -> None:
    check_scores(quantized, prompt, 0.05)


def test_both_hold_a_schema(guide: Pair) -> None:
    spec = ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text=json.dumps(SCHEMA))

    ours = guide.ours.generate(PROMPTS[0], constraint=spec, num_predict=60)
    theirs = guide.theirs.generate(PROMPTS[0], json_schema=SCHEMA, n_predict=60)

    for answer in (ours, theirs):
        value = json.loads(answer.text)
        assert value.keys() == {"name", "age"}
        assert value["age"] in (1, 22)
        assert len(value["name"]) <= 9


def _sampling(fields: dict[str, Any]) -> SamplingParams:
    return replace(GREEDY, **fields)
