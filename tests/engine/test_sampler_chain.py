"""Every sampler draws, and those that change nothing by their numbers change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import CacheType, LoadOptions, SamplingParams
from localrun.engine.sampler_chain import adjust_logits
from localrun.errors import LoadError
from tests.engine.test_context import LIMITS, asking, generate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = "How do I download a model?"
GREEDY = SamplingParams(temperature=0)
native_log = start()


@pytest.fixture(scope="module")
def model(guide_path: Path) -> Iterator[Model]:
    found = load_model(
        [guide_path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
    )
    yield found
    found.close()


def answer(model: Model, sampling: SamplingParams, **options: Any) -> str:
    context = LlamaContext(model, LIMITS, num_threads=1, options=LoadOptions(**options))
    try:
        return generate(model, context, asking(model, 1, QUESTION, sampling))[0]
    finally:
        context.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"mirostat": 1},
        {"mirostat": 2},
        {"dry_multiplier": 1.0},
        {"xtc_probability": 0.5},
        {"typical_p": 0.5},
        {"top_n_sigma": 1.0},
        {"dynatemp_range": 0.5},
        {"repeat_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5},
    ],
    ids=str,
)
def test_a_sampler_draws_the_same_for_the_same_seed(model: Model, fields: dict[str, Any]) -> None:
    sampling = SamplingParams(seed=5, temperature=1.5, **fields)

    assert answer(model, sampling) == answer(model, sampling) != ""


def test_a_narrow_filter_leaves_the_likeliest(model: Model) -> None:
    greedy = answer(model, GREEDY)

    for narrow in ({"top_p": 0.0}, {"min_p": 1.0}, {"top_k": 1}, {"top_n_sigma": 0.001}):
        assert answer(model, SamplingParams(temperature=1.0, seed=1, **narrow)) == greedy


def test_dry_breaks_a_passage_of_the_prompt_off(model: Model) -> None:
    repeated = "Say this: alpha beta gamma delta"
    dry = SamplingParams(temperature=0, dry_multiplier=50.0, dry_allowed_length=1)
    context = LlamaContext(model, LIMITS, num_threads=1)

    plain = generate(model, context, asking(model, 1, repeated))[0]
    broken = generate(model, context, asking(model, 2, repeated, dry))[0]

    assert plain != broken
    context.close()


def test_a_bias_forbids_a_token(model: Model) -> None:
    first = asking(model, 1, QUESTION, new=1)
    context = LlamaContext(model, LIMITS, num_threads=1)
    generate(model, context, first)
    token = first.tokens[-1]
    forbidding = SamplingParams(temperature=0, logit_bias=((token, -1000.0),))
    second = asking(model, 2, QUESTION, forbidding, new=1)

    generate(model, context, second)

    assert second.tokens[-1] != token
    context.close()


def test_penalties_follow_their_formula() -> None:
    logits = np.array([2.0, -2.0, 1.0, 0.5], dtype=np.float32)
    params = SamplingParams(repeat_penalty=2.0, presence_penalty=0.25, frequency_penalty=0.5)

    adjust_logits(logits, params, [3, 0, 1, 1])

    assert logits == pytest.approx([1 - 0.75, -4 - 1.25, 1.0, 0.25 - 0.75])


@pytest.mark.parametrize(("last", "changed"), [(1, [0]), (2, [0, 2]), (-1, [0, 1, 2]), (0, [])])
def test_penalties_look_back_as_far_as_asked(last: int, changed: list[int]) -> None:
    logits = np.ones(3, dtype=np.float32)
    params = SamplingParams(presence_penalty=1.0, repeat_last_n=last)

    if params.is_adjusting:
        adjust_logits(logits, params, [1, 2, 0])

    assert list(np.flatnonzero(logits == 0)) == changed


@pytest.mark.parametrize("kind", CacheType)
def test_every_cache_type_answers(model: Model, kind: CacheType) -> None:
    assert answer(model, GREEDY, cache_type=kind).startswith("Type `localrun pull")


def test_adapters_change_the_answer_by_their_scale(model: Model, pirate_path: Path) -> None:
    adapter = model.load_adapter(pirate_path)
    answers = []
    for scale in (0.0, 1.0):
        context = LlamaContext(model, LIMITS, num_threads=1)
        context.use_adapters([(adapter, scale)])
        answers.append(generate(model, context, asking(model, 1, QUESTION))[0])
        context.close()

    assert answers[0] == answer(model, GREEDY)
    assert answers[1] != answers[0]


def test_a_file_that_is_no_adapter_is_refused(model: Model, guide_path: Path) -> None:
    with pytest.raises(LoadError, match="does not fit"):
        model.load_adapter(guide_path)
