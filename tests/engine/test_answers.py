"""Scores, forbidden ends and shifts on the real model."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from localrun.engine.context_shift import ContextShift
from localrun.engine.engine import Engine
from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.scheduler import Scheduler
from localrun.engine.scores import Scores, TokenScore
from localrun.engine.sequence import Sequence
from localrun.engine.text import TextStream
from tests.engine.answering import CHAT, LIMITS, Answerer, schema

GREEDY = SamplingParams(temperature=0)
LIST: dict[str, Any] = {
    "type": "array", "items": {"enum": ["one", "two"]}, "minItems": 60, "maxItems": 60
}  # fmt: skip


def sequence(
    answerer: Answerer, new: int, sampling: SamplingParams = GREEDY, **fields: Any
) -> Sequence:
    tokens = answerer.model.tokenize(CHAT)
    return Sequence(
        request_id=1,
        tokens=tokens,
        max_tokens=len(tokens) + new,
        sampling=sampling,
        text=TextStream(fields.pop("stop", ())),
        **fields,
    )


def scored(answerer: Answerer, seq: Sequence) -> tuple[str, list[TokenScore]]:
    cache = answerer.context.open_cache()
    engine = Engine(
        answerer.context,
        Scheduler(LIMITS, cache),
        pieces=answerer.model.pieces,
        eog=answerer.model.eog,
    )
    engine.submit(seq)
    text = ""
    scores: list[TokenScore] = []
    while engine.has_work:
        for output in engine.step():
            text += output.text
            scores += output.seq.release_scores()
    cache.clear()
    return text, scores


def test_scores_are_of_the_raw_logits_and_of_the_text(answerer: Answerer) -> None:
    text, scores = scored(answerer, sequence(answerer, 8, scores=Scores(5)))

    assert b"".join(score.piece for score in scores) == text.encode()
    for score in scores:
        assert score.top[0] == (score.piece, score.logprob)  # greedy takes the best
        values = [value for _, value in score.top]
        assert values == sorted(values, reverse=True)
        assert sum(map(math.exp, values)) < 1 + 1e-6


def test_bias_penalties_and_heat_leave_the_scores_alone(answerer: Answerer) -> None:
    _, (plain,) = scored(answerer, sequence(answerer, 1, scores=Scores(5)))
    unwanted = answerer.model.pieces.index(plain.piece)
    sampling = SamplingParams(
        temperature=1.5, top_k=1, repeat_penalty=1.5, logit_bias=((unwanted, -100.0),)
    )

    _, (other,) = scored(answerer, sequence(answerer, 1, sampling, scores=Scores(5)))

    assert other.piece != plain.piece
    assert other.top == plain.top


def test_the_end_may_be_likely_and_has_no_score_of_its_own(answerer: Answerer) -> None:
    seq = sequence(answerer, 300, scores=Scores(1))

    text, scores = scored(answerer, seq)

    assert seq.finish is FinishReason.STOP
    assert len(scores) == seq.num_generated - 1
    assert b"".join(score.piece for score in scores) == text.encode()


def test_scores_behind_a_stop_string_are_dropped(answerer: Answerer) -> None:
    whole, _ = scored(answerer, sequence(answerer, 12))
    stop = whole[3:6]

    text, scores = scored(answerer, sequence(answerer, 12, stop=[stop], scores=Scores(0)))

    spelled = b"".join(score.piece for score in scores)
    assert text == whole[: whole.index(stop)]
    assert spelled.startswith(text.encode())
    assert len(spelled) - len(scores[-1].piece) < len(text)  # all of them begin in the text


def test_an_ignored_end_is_never_drawn(answerer: Answerer) -> None:
    sampling = SamplingParams(temperature=0, ignore_eos=True).without_ends(answerer.model.eog)
    seq = sequence(answerer, 300, sampling)

    answerer.run(seq)

    assert seq.finish is FinishReason.LENGTH
    assert answerer.model.eog.isdisjoint(seq.tokens[seq.num_prompt :])


@pytest.mark.parametrize("num_keep", [0, 8])
def test_a_shift_breaks_neither_text_nor_constraint(answerer: Answerer, num_keep: int) -> None:
    seq = sequence(
        answerer,
        2000,
        SamplingParams(temperature=0.7, seed=3),
        constraint=answerer.grammars.constrain(schema(LIST), CHAT),
        scores=Scores(0),
        shift=ContextShift.keeping(num_keep, 64),
    )

    text, scores = scored(answerer, seq)

    assert seq.finish is FinishReason.STOP
    assert seq.num_dropped > 64
    assert len(json.loads(text)) == 60
    assert b"".join(score.piece for score in scores) == text.encode()
