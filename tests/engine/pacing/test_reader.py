"""A reader of a stream: ahead of it, or waiting."""

from __future__ import annotations

import pytest

from localrun.engine.pacing.reader import AnswerReader


def test_tokens_that_come_faster_than_they_are_read_are_a_lead() -> None:
    reader = AnswerReader(0.1)

    for place in range(5):
        reader.receive(10.0 + 0.02 * place)

    assert reader.lead_s(10.08) == pytest.approx(0.42)
    assert reader.waited_s == 0


def test_a_reader_waits_from_the_last_read_token_to_the_next() -> None:
    reader = AnswerReader(0.1)

    reader.receive(10.0)  # nobody waits for the first one here: that is counted elsewhere
    reader.receive(10.3)
    reader.receive(10.6)

    assert reader.waited_s == pytest.approx(0.4)
    assert reader.lead_s(10.6) == pytest.approx(0.1)


def test_a_late_token_is_not_read_faster() -> None:
    reader = AnswerReader(0.1)
    reader.receive(10.0)

    reader.receive(15.0)

    assert reader.lead_s(15.0) == pytest.approx(0.1)
