"""The model's summary in the place of older turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.compaction import CompactionLimits, compact, split_turns
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
    assert num_predict == 150
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
        return "sum"

    compact(messages, LIMITS, note)

    assert len(requests[0]) < 2500


def test_an_empty_summary_changes_nothing() -> None:
    with pytest.raises(BackendError, match="no summary"):
        compact(turns(5), LIMITS, lambda _request, _num: " \n")


def test_a_nearly_full_context_is_compacted_before_the_next_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    fake.chat.session.messages = [
        {"role": "user", "content": "long " * 100},
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
    assert fake.sent[0] == ("user", "Summary of the conversation so far:\nThey talked.")
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
