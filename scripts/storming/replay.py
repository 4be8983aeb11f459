"""Ask what was answered in a storm once more, alone and without guesses, and compare.

A greedy answer is the same whatever goes on beside it, but for ties: steps of another width
add in another order. So where two answers part, the two likeliest tokens must be as good as
equal. Their distance is known for plain answers only; others are counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from localrun.engine.params import SamplingParams
from localrun.runner.messages import Finished, Generate, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import Event, Submitted

NEAR_TIE = 0.25  # of logits; adapters of scale -1 make noise of a quantized model louder
PLAIN = SamplingParams(temperature=0, seed=None)


class Witness(NamedTuple):
    """A request and what came of it."""

    request: Generate
    text: str
    end: Finished


def witness(request: Submitted, events: Sequence[Event]) -> Witness | None:
    """Return what can be asked again, None for what depends on chance or time."""
    end = events[-1]
    if not isinstance(request, Generate) or not isinstance(end, Finished):
        return None
    if request.sampling.temperature or end.reason == "cancelled":
        return None
    return Witness(request, text_of(events), end)


def text_of(events: Sequence[Event]) -> str:
    """Return all text of an answer."""
    return "".join(piece for it in events if isinstance(it, Step) for _, piece in it.deltas)


def calm(request: Generate, request_id: int) -> Generate:
    """Return the request for the comparison."""
    sampling = replace(request.sampling, draft_num_predict=0)
    generation = replace(request.generation, logprobs=2)
    return replace(request, request_id=request_id, sampling=sampling, generation=generation)


def is_plain(request: Generate) -> bool:
    """Return whether nothing but the model chooses the tokens."""
    sampling = replace(request.sampling, seed=None, draft_num_predict=None, ignore_eos=False)
    generation = request.generation
    has_shape = generation.constraint or generation.prompt.tools
    has_shape = has_shape or generation.thinking_budget is not None
    is_free = not has_shape and not request.sampling.ignore_eos
    return is_free and sampling == PLAIN


def gap_at_parting(stormy: str, events: Sequence[Event]) -> float | None:
    """Return how far the two likeliest tokens are apart where the texts part; None: nowhere."""
    text = text_of(events)
    if text == stormy:
        return None
    place = next(
        (at for at, pair in enumerate(zip(text, stormy, strict=False)) if pair[0] != pair[1]),
        min(len(text), len(stormy)),
    )
    scores = [
        one for it in events if isinstance(it, Step) for _, found in it.scores for one in found
    ]
    behind = b""
    for piece, _, top in scores:
        behind += piece
        if len(behind.decode(errors="ignore")) > place:
            return top[0][1] - top[1][1]
    return 0.0  # the end was drawn here, or not: it has no score
