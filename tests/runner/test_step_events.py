"""Texts of steps: after some milliseconds of streams, after some tokens of other answers."""

from __future__ import annotations

from localrun.engine.engine import StepOutput
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import FinishReason
from localrun.engine.scores import Scores, TokenScore
from localrun.engine.sequence import Sequence
from localrun.runner.events import EVENT_S, MAX_HELD, StepEvents


def sequence(number: int, *, is_streamed: bool = False) -> Sequence:
    reader = AnswerReader(token_s=0.1) if is_streamed else None
    return Sequence(request_id=number, tokens=[1], max_tokens=99, reader=reader)


def output(seq: Sequence, text: str, finish: FinishReason | None = None) -> StepOutput:
    return StepOutput(seq, text, finish)


def deltas(
    events: StepEvents, *outputs: StepOutput, at: float = 0, holds: bool = True
) -> tuple[tuple[int, str], ...]:
    event = events.next_event(outputs, at, holds=holds)
    return event.deltas if event else ()


def test_a_stream_of_steps_that_are_not_fast_is_sent_token_by_token() -> None:
    events, seq = StepEvents(), sequence(1, is_streamed=True)

    sent = [deltas(events, output(seq, text), at=n * EVENT_S) for n, text in enumerate("abc")]

    assert sent == [((1, "a"),), ((1, "b"),), ((1, "c"),)]


def test_tokens_of_a_stream_that_nobody_sees_apart_are_sent_together() -> None:
    events, seq = StepEvents(), sequence(1, is_streamed=True)

    sent = [deltas(events, output(seq, text), at=n * EVENT_S / 3) for n, text in enumerate("abcde")]
    end = deltas(events, output(seq, "f", FinishReason.STOP), at=4.1 * EVENT_S / 3)

    assert sent == [((1, "a"),), (), (), ((1, "bcd"),), ()]
    assert end == ((1, "ef"),)


def test_text_of_a_stream_needs_no_further_token() -> None:
    events, seq = StepEvents(), sequence(1, is_streamed=True)
    deltas(events, output(seq, "a"))
    deltas(events, output(seq, "b"), at=EVENT_S / 2)

    assert deltas(events, at=EVENT_S) == ((1, "b"),)


def test_text_of_streams_is_due_behind_the_last_event_and_that_of_others_later() -> None:
    events, answer, stream = StepEvents(), sequence(1), sequence(2, is_streamed=True)
    deltas(events, output(answer, "a"), at=1.0)
    assert events.due_at(5.0) == 5.0 + EVENT_S

    deltas(events, output(stream, "a"), at=6.0)

    assert events.due_at(6.002) == 6.0 + EVENT_S


def test_a_step_that_more_than_decodes_waits_for_no_text() -> None:
    events, seq = StepEvents(), sequence(1, is_streamed=True)
    deltas(events, output(seq, "a"))

    assert deltas(events, output(seq, "b"), at=EVENT_S / 4, holds=False) == ((1, "b"),)
    deltas(events, output(seq, "c"), at=EVENT_S / 2)
    assert deltas(events, at=EVENT_S / 2, holds=False) == ((1, "c"),)


def test_streams_wake_the_server_together() -> None:
    events = StepEvents()
    first, second = sequence(1, is_streamed=True), sequence(2, is_streamed=True)
    sent = [deltas(events, output(first, "a"), at=0)]
    for n in range(1, 6):
        outputs = output(first, "a"), output(second, "b")
        sent.append(deltas(events, *outputs, at=n * EVENT_S / 4))

    assert [len(event) for event in sent] == [1, 2, 0, 0, 0, 2]
    assert sent[-1] == ((1, "aaaa"), (2, "bbbb"))


def test_scores_leave_with_their_text() -> None:
    events, seq = StepEvents(), sequence(1, is_streamed=True)
    seq.scores = Scores(num_top=0)
    seq.scores.sampled.append(TokenScore(b"a", -1.0, ()))
    first = events.next_event([output(seq, seq.push(b"a"))], 0)
    seq.scores.sampled.append(TokenScore(b"b", -2.0, ()))
    held = events.next_event([output(seq, seq.push(b"b"))], EVENT_S / 2)
    later = events.next_event([], EVENT_S)

    assert held is None
    scores = [event.scores for event in (first, later) if event]
    assert scores == [((1, ((b"a", -1.0, ()),)),), ((1, ((b"b", -2.0, ()),)),)]


def test_other_answers_are_sent_in_larger_pieces_behind_the_first_token() -> None:
    events, seq = StepEvents(), sequence(1)
    texts = [str(number % 10) for number in range(2 * MAX_HELD + 3)]

    sent = [found for text in texts if (found := deltas(events, output(seq, text)))]
    end = deltas(events, output(seq, "!", FinishReason.STOP))

    pieces = [text for ((_, text),) in [*sent, end]]
    assert [len(piece) for piece in pieces] == [1, MAX_HELD, MAX_HELD, 3]
    assert "".join(pieces) == "".join(texts) + "!"


def test_an_answer_that_is_held_back_delays_no_other() -> None:
    events, held, streamed = StepEvents(), sequence(1), sequence(2, is_streamed=True)
    deltas(events, output(held, "a"), output(streamed, "x"))

    assert deltas(events, output(held, "b"), output(streamed, "y"), at=1) == ((2, "y"),)


def test_a_cancelled_answer_sends_what_was_held_back() -> None:
    events, seq = StepEvents(), sequence(1)
    for text in "abc":
        deltas(events, output(seq, text))

    assert deltas(events, output(seq, "", FinishReason.CANCELLED)) == ((1, "bc"),)


def test_a_number_may_be_used_again_after_the_end() -> None:
    events = StepEvents()
    deltas(events, output(sequence(1), "a"))
    deltas(events, output(sequence(1), "b", FinishReason.STOP))

    assert deltas(events, output(sequence(1), "c")) == ((1, "c"),)


def test_a_step_without_text_is_no_event() -> None:
    assert StepEvents().next_event([output(sequence(1), "")], now=0) is None
