"""Commands for answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.kept_chat import KeptChat
from localrun.conversations.store import ConversationStore
from localrun.errors import BackendError
from tests.cli.chatting.fakes import FakeChat, fake_chat, pieces

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = [
    ("/regenerate", "there is no message to answer"),
    ("/retry", "nothing failed"),
    ("/undo", "there is nothing to undo"),
    ("/copy", "there is no answer yet"),
    ("/stats", "there is no answer yet"),
]


@pytest.fixture
def fake(tmp_path: Path) -> FakeChat:
    return fake_chat(tmp_path)


@pytest.mark.parametrize(("command", "said"), NOTHING)
def test_an_empty_chat_has_nothing_to_act_on(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    act_on(fake.chat, command)

    assert f"error: {said}" in capsys.readouterr().err
    assert fake.client.bodies == []


def test_an_answer_is_regenerated_without_the_old_one(fake: FakeChat) -> None:
    act_on(fake.chat, "one")
    fake.client.answers = [pieces("Another.")]

    act_on(fake.chat, "/regenerate")

    assert fake.sent == [("user", "one")]
    assert fake.conversation == [("user", "one"), ("assistant", "Another.")]


def test_a_regenerated_answer_is_a_branch_of_the_kept_chat(fake: FakeChat, tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "chats")
    fake.chat.kept = KeptChat(store, pytest.fail)
    act_on(fake.chat, "one")
    fake.client.answers = [pieces("Another.")]

    act_on(fake.chat, "/regenerate")

    assert fake.chat.kept.chat_id is not None
    texts = [one.content for one in store.messages(fake.chat.kept.chat_id)]
    path = [one.content for one in store.path(fake.chat.kept.chat_id)]
    assert texts == ["one", "Hello.", "Another."]
    assert path == ["one", "Another."]


def test_undo_removes_the_last_turn(fake: FakeChat) -> None:
    act_on(fake.chat, "one")
    act_on(fake.chat, "two")

    act_on(fake.chat, "/undo")

    assert fake.conversation == [("user", "one"), ("assistant", "Hello.")]


def test_an_edited_message_takes_the_place_of_the_old_one(fake: FakeChat) -> None:
    act_on(fake.chat, "one")
    fake.composer.edited = lambda text: f"{text} and a half\n"

    act_on(fake.chat, "/edit")

    assert fake.conversation == [("user", "one and a half"), ("assistant", "Hello.")]


def test_an_empty_edit_changes_nothing(fake: FakeChat) -> None:
    act_on(fake.chat, "one")
    fake.composer.edited = lambda _: "\n"

    act_on(fake.chat, "/edit")

    assert fake.conversation == [("user", "one"), ("assistant", "Hello.")]
    assert len(fake.client.bodies) == 1


def test_the_first_message_can_be_written_in_the_editor(fake: FakeChat) -> None:
    fake.composer.edited = lambda text: f"[{text}]"

    act_on(fake.chat, "/edit")

    assert fake.sent == [("user", "[]")]


def test_stats_are_those_of_the_last_answer(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "one")
    assert "eval count" not in capsys.readouterr().err

    act_on(fake.chat, "/stats")

    shown = capsys.readouterr().err
    assert "eval count:           10 tokens" in shown
    assert "time to first token:" in shown


def test_verbose_prints_the_figures_after_each_answer(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set verbose")
    act_on(fake.chat, "one")

    assert "prompt eval count:    30 tokens" in capsys.readouterr().err


def test_a_second_model_answers_under_the_first_and_stays_out_of_the_conversation(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/compare guide")
    fake.client.answers = [pieces("First."), pieces("Second.")]

    act_on(fake.chat, "one")

    shown = capsys.readouterr()
    assert shown.out == "First.\nSecond.\n"
    assert fake.client.bodies[0]["messages"] == fake.client.bodies[1]["messages"]
    assert fake.conversation == [("user", "one"), ("assistant", "First.")]

    act_on(fake.chat, "/compare off")
    act_on(fake.chat, "two")
    assert len(fake.client.bodies) == 3


def test_a_second_model_that_fails_costs_only_its_answer(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/compare guide")
    fake.client.answers = [pieces("First."), [BackendError("it died")]]

    act_on(fake.chat, "one")

    assert "it died" in capsys.readouterr().err
    assert fake.conversation == [("user", "one"), ("assistant", "First.")]
