"""The model's summary in the place of older turns."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.compaction import (
    GAP_BYTES,
    LEAST_SUMMARY,
    MAX_PIECES,
    CompactionLimits,
    bytes_per_token,
    compact,
    fit_results,
    pieces_of,
    split_turns,
)
from localrun.errors import BackendError
from tests.cli.chatting.fakes import END, fake_chat, pieces

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.cli.chatting.session import Message

LIMITS = CompactionLimits(num_context=1000)


def turns(count: int) -> list[Message]:
    return [
        message
        for number in range(count)
        for message in (
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": f"answer {number}"},
        )
    ]


def summarize(request: list[Message], num_predict: int) -> str:
    assert num_predict == 64
    assert "User: question 0" in request[0]["content"]
    return " They talked.\n"


def test_the_last_three_turns_stay_as_they_are() -> None:
    messages = turns(5)

    compacted = compact(messages, LIMITS, summarize)

    assert compacted is not None
    assert compacted.messages[0] == {"role": "summary", "content": "They talked."}
    assert all(new is old for new, old in zip(compacted.messages[1:], messages[4:], strict=True))
    assert compacted.num_turns == 2


@pytest.mark.parametrize(("num_turns", "num_kept"), [(1, 1), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_of_few_turns_fewer_stay(num_turns: int, num_kept: int) -> None:
    _, recent = split_turns(turns(num_turns))

    assert len(recent) == 2 * num_kept


def test_one_turn_has_nothing_to_compact() -> None:
    assert compact(turns(1), LIMITS, summarize) is None


def test_an_over_long_result_of_a_tool_is_shortened() -> None:
    long = "x" * 100_000
    messages = [*turns(1), {"role": "tool", "content": long, "tool_name": "read"}]

    compacted = compact(messages, LIMITS, summarize)

    assert compacted is not None
    assert len(compacted.messages[-1]["content"]) < 1000
    assert messages[-1]["content"] == long
    assert (compacted.num_turns, compacted.num_shortened) == (0, 1)


def test_a_long_conversation_is_shortened_for_the_request() -> None:
    messages = turns(4)
    messages[1] = {"role": "assistant", "content": "y" * 100_000}
    requests: list[str] = []

    def note(request: list[Message], num_predict: int) -> str:
        requests.append(f"{request[0]['content']}{num_predict}")
        return f"sum {len(requests)}"

    compact(messages, LIMITS, note)

    assert 1 < len(requests) <= 2 * MAX_PIECES
    assert all(len(one) < 2500 for one in requests)


def test_each_request_has_the_summary_of_the_pieces_before() -> None:
    messages = [{"role": "summary", "content": "It began."}, *turns(40)]
    requests: list[str] = []

    def note(request: list[Message], num_predict: int) -> str:
        assert num_predict <= 150
        requests.append(request[0]["content"])
        return f"sum {len(requests)}"

    compacted = compact(messages, LIMITS, note)

    assert compacted is not None
    assert compacted.summary == f"sum {len(requests)}"
    assert "Earlier: It began." in requests[0]
    assert "Earlier: sum 1" in requests[1]
    assert "question 0" in requests[0]
    assert "answer 36" in requests[-1]


def test_a_piece_without_a_summary_keeps_the_one_before() -> None:
    answers = iter(["sum 1", "", "", ""])

    compacted = compact(turns(40), LIMITS, lambda _request, _num: next(answers))

    assert compacted is not None
    assert compacted.summary == "sum 1"


def test_results_of_the_last_turns_get_shorter_until_they_fit() -> None:
    result = {"role": "tool", "content": "x" * 500, "tool_name": "read"}
    messages = [*turns(1), *[result] * 6]

    compacted = compact(messages, LIMITS, summarize)

    assert compacted is not None
    assert [len(one["content"]) < 300 for one in compacted.messages[2:]] == [True] * 6
    assert not compacted.is_too_long
    assert compact(compacted.messages, LIMITS, summarize) is None


def test_last_turns_that_are_too_long_are_said_to_be() -> None:
    long = {"role": "user", "content": "x" * 5000}

    compacted = compact([*turns(2), long, *turns(1)], LIMITS, lambda _request, _num: "sum")

    assert compacted is not None
    assert compacted.is_too_long
    assert compacted.messages[-3] is long


@pytest.mark.parametrize(
    ("text", "num_tokens", "expected"),
    [
        ("x" * 300, 100, 3.0),
        ("漢" * 100, 150, 2.0),
        ("x", 500, 1.0),
        ("x" * 900, 9, 4.0),
        ("", 0, 3.0),
    ],
)
def test_the_last_request_shows_how_dense_the_text_is(
    text: str, num_tokens: int, expected: float
) -> None:
    assert bytes_per_token([{"role": "user", "content": text}], num_tokens) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(4, 40))
def test_pieces_are_bounded_and_lose_nothing(text: str, limit_bytes: int) -> None:
    pieces = pieces_of(text, limit_bytes)

    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= limit_bytes for piece in pieces)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Return turns, some with a call of a tool."""
    texts = st.text("ab 漢\n", min_size=1, max_size=40)
    sizes = st.integers(1, 60)
    messages: list[Message] = []
    for _ in range(draw(st.integers(1, 8))):
        messages.append({"role": "user", "content": draw(texts) * draw(sizes)})
        if draw(st.booleans()):
            call = {"function": {"name": "read", "arguments": {"path": draw(texts)}}}
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            messages.append({"role": "tool", "content": draw(texts) * draw(sizes)})
        messages.append({"role": "assistant", "content": draw(texts) * draw(sizes)})
    return messages


@given(conversations(), st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([512, 2048]))
def test_every_compaction_keeps_the_last_turns_and_bounds_its_requests(
    messages: list[Message], density: float, num_context: int
) -> None:
    limits = CompactionLimits(num_context=num_context, bytes_per_token=density)
    before = copy.deepcopy(messages)

    def answer(request: list[Message], num_predict: int) -> str:
        num_bytes = len(request[0]["content"].encode())
        room = (num_context - num_predict) * density
        assert num_bytes <= max(room, 256 + limits.summary_bytes + 400 + GAP_BYTES)
        return "s" * int(num_predict * density)

    compacted = compact(messages, limits, answer)

    assert messages == before
    if compacted is None:
        return
    roles = [one["role"] for one in compacted.messages]
    kept = [one for one in compacted.messages if one["role"] != "summary"]
    recent = messages[len(messages) - len(kept) :]
    assert roles.count("summary") == bool(compacted.num_turns)
    assert [one["role"] for one in kept] == [one["role"] for one in recent]
    assert all(new is old or new["role"] == "tool" for new, old in zip(kept, recent, strict=True))
    assert kept[0]["role"] == "user"
    if not compacted.is_too_long:
        num_bytes = sum(len(one["content"].encode()) for one in compacted.messages)
        assert num_bytes <= limits.recent_bytes + max(limits.summary_bytes, LEAST_SUMMARY * density)


def test_an_empty_summary_changes_nothing() -> None:
    with pytest.raises(BackendError, match="no summary"):
        compact(turns(5), LIMITS, lambda _request, _num: " \n")


def test_a_nearly_full_context_is_compacted_before_the_next_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    fake.chat.session.messages = [
        {"role": "user", "content": "long " * 20},
        {"role": "assistant", "content": "yes"},
        *turns(3),
    ]
    fake.client.context = 100
    act_on(fake.chat, "/model guide")
    fake.client.answers = [[*pieces("ok")[:1], {**END, "prompt_eval_count": 90}]]
    act_on(fake.chat, "one")
    assert len(fake.client.bodies) == 1

    fake.client.answers = [pieces("They talked."), pieces("Fine.")]
    act_on(fake.chat, "two")

    assert "(compacted 2 older turns into a summary" in capsys.readouterr().err
    assert fake.sent[0][1].startswith("Summary of the conversation so far:\nThey talked.\n\n")
    assert [role for role, _ in fake.sent[:3]] == ["user", "assistant", "user"]
    assert fake.sent[-1] == ("user", "two")
    assert fake.conversation[0][0] == "summary"


def test_no_compact_never_compacts(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path, compacts=False)
    fake.client.context = 100
    fake.chat.session.messages = turns(9)
    act_on(fake.chat, "/model guide")
    fake.client.answers = [[*pieces("ok")[:1], {**END, "prompt_eval_count": 99}]]

    act_on(fake.chat, "one")
    act_on(fake.chat, "two")

    assert len(fake.client.bodies) == 2


def test_a_failed_compaction_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    fake.chat.session.messages = turns(5)
    fake.client.answers = [[BackendError("the runner died")]]

    act_on(fake.chat, "/compact")

    assert "the runner died" in capsys.readouterr().err
    assert fake.chat.session.messages == turns(5)


def test_a_stopped_compaction_still_sends_the_message(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.client.context = 10
    act_on(fake.chat, "/model guide")
    fake.chat.session.messages = turns(5)
    fake.client.answers = [[KeyboardInterrupt()], pieces("Fine.")]

    act_on(fake.chat, "a message that is long enough to fill the context of ten tokens")

    assert fake.conversation[-1] == ("assistant", "Fine.")


def test_an_interrupt_while_a_kept_chat_is_counted_keeps_the_message_for_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_model: str, _text: str) -> int:
        raise KeyboardInterrupt

    fake = fake_chat(tmp_path)
    fake.chat.session.messages = turns(1)
    monkeypatch.setattr(fake.client, "num_tokens", interrupt)
    act_on(fake.chat, "one")
    assert fake.client.bodies == []

    monkeypatch.undo()
    act_on(fake.chat, "/retry")

    assert fake.sent[-1] == ("user", "one")


def test_a_kept_chat_is_counted_before_its_first_message(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.client.context = 10
    act_on(fake.chat, "/model guide")
    fake.chat.session.messages = turns(5)
    fake.client.answers = [pieces("They talked."), pieces("Fine.")]

    act_on(fake.chat, "one")

    assert fake.conversation[0] == ("summary", "They talked.")
    assert fake.conversation[-1] == ("assistant", "Fine.")


def test_results_of_one_turn_fit_the_next_request() -> None:
    result = {"role": "tool", "content": "x" * 900, "tool_name": "read"}
    messages = [*turns(1)[:1], *[result] * 10]

    fitting = fit_results(messages, LIMITS)

    assert sum(len(one["content"]) for one in fitting) <= LIMITS.request_bytes
    assert [one["role"] for one in fitting] == [one["role"] for one in messages]
    assert fit_results(turns(3), LIMITS) == turns(3)
