"""Events from the outputs of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.predicted_output import PredictedOutput
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.runner.events import terminal_event
from localrun.runner.messages import Failed, Finished


@dataclass
class BrokenConstraint:
    failure: str | None

    def mask(self, logits: object) -> None:
        """Forbid nothing."""

    def accept(self, token: int) -> None:
        """Take anything."""

    def forced(self) -> list[int]:
        return []


@pytest.mark.parametrize(
    ("failure", "finish", "kind"),
    [
        (None, FinishReason.STOP, Finished),
        ("too slow", FinishReason.STOP, Failed),
        ("too slow", FinishReason.CANCELLED, Finished),
    ],
)
def test_an_answer_whose_constraint_broke_has_failed(
    failure: str | None, finish: FinishReason, kind: type
) -> None:
    seq = Sequence(request_id=7, tokens=[1], max_tokens=9, constraint=BrokenConstraint(failure))
    seq.finish = finish

    event = terminal_event(seq, now=1.0)

    assert isinstance(event, kind)
    assert event.request_id == 7
    if isinstance(event, Failed):
        assert event.message == failure


@pytest.mark.parametrize(
    ("predicted", "num_drafted", "counts"),
    [((), 0, (None, None)), ((5, 6), 0, (0, 0)), ((5, 6, 7), 9, (4, 5))],
)
def test_tokens_of_a_prediction_are_counted_without_those_of_other_sources(
    predicted: tuple[int, ...], num_drafted: int, counts: tuple[int | None, int | None]
) -> None:
    seq = Sequence(request_id=7, tokens=[1], max_tokens=9, predicted=predicted)
    seq.finish = FinishReason.STOP
    seq.count_drafts(PromptLookup.name, 3, 1)
    if num_drafted:
        seq.count_drafts(PredictedOutput.name, num_drafted, 4)

    event = terminal_event(seq, now=1.0)

    assert isinstance(event, Finished)
    assert (event.predicted_right, event.predicted_wrong) == counts
