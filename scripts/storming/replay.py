"""Replay of greedy requests alone and without speculative decoding, to compare the answers.

A greedy answer does not depend on concurrent requests, except for ties: steps with another batch
width add in another order. So where two answers diverge, the two likeliest tokens must have almost
equal logits. The difference is known for plain requests only; others are counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from localrun.engine.params import SamplingParams
from localrun.runner.messages import Finished, Generate, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import Event, Submitted

NEAR_TIE = 0.25  # of logits; adapters of scale -1 amplify the noise of a quantized model
PLAIN = SamplingParams(temperature=0, seed=None)


class ReplayCase(NamedTuple):
    """A request and its answer."""

    request: Generate
    text: str
    end: Finished


def replay_case(request: Submitted, events: Sequence[Event]) -> ReplayCase | None:
    """Return the case to replay, or None if the answer depends on chance or time."""
    end = events[-1]
    if not isinstance(request, Generate) or not isinstance(end, Finished):
        return None
    if request.sampling.temperature or end.reason == "cancelled":
        return None
    return ReplayCase(request, text_of(events), end)


def text_of(events: Sequence[Event]) -> str:
    """Return the text of an answer."""
    return "".join(
        piece for event in events if isinstance(event, Step) for _, piece in event.deltas
    )


def replayed(request: Generate, request_id: int) -> Generate:
    """Return the request to submit for the comparison."""
    sampling = replace(request.sampling, draft_num_predict=0)
    generation = replace(request.generation, logprobs=2)
    return replace(request, request_id=request_id, sampling=sampling, generation=generation)


def is_plain(request: Generate) -> bool:
    """Return whether no constraint or sampler influences the tokens."""
    sampling = replace(request.sampling, seed=None, draft_num_predict=None, ignore_eos=False)
    generation = request.generation
    has_shape = generation.constraint or generation.prompt.tools
    has_shape = has_shape or generation.thinking_budget is not None
    is_free = not has_shape and not request.sampling.ignore_eos
    return is_free and sampling == PLAIN


def gap_at_divergence(first_text: str, events: Sequence[Event]) -> float | None:
    """Return the logit difference of the two likeliest tokens where the texts diverge, or None."""
    text = text_of(events)
    if text == first_text:
        return None
    offset = next(
        (at for at, pair in enumerate(zip(text, first_text, strict=False)) if pair[0] != pair[1]),
        min(len(text), len(first_text)),
    )
    scores = [
        score
        for event in events
        if isinstance(event, Step)
        for _, step_scores in event.scores
        for score in step_scores
    ]
    behind = b""
    for piece, _, top in scores:
        behind += piece
        if len(behind.decode(errors="ignore")) > offset:
            return top[0][1] - top[1][1]
    return 0.0  # one answer ends here, and the end token has no score
