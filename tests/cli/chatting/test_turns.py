"""Turns of a chat: what stays of each, however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.chat import act_on, run_chat
from localrun.errors import BackendError, UsageError
from tests.cli.chatting.fakes import fake_chat, pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from localrun.cli.chatting.session import Message
    from localrun.errors import LocalrunError

KILLED = BackendError("the server closed the connection")


def test_an_answer_is_printed_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [pieces("Hel", "lo.")]

    act_on(fake.chat, "hi")

    assert capsys.readouterr().out == "Hello.\n"
    assert fake.conversation == [("user", "hi"), ("assistant", "Hello.")]
    assert fake.chat.session.context.used == 40


def test_a_stopped_answer_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [[*pieces("Half")[:1], KeyboardInterrupt()]]

    act_on(fake.chat, "hi")

    assert "(stopped)" in capsys.readouterr().err
    assert fake.conversation == [("user", "hi"), ("assistant", "Half")]
    assert fake.chat.session.messages[-1]["is_stopped"]


def test_a_turn_that_is_stopped_before_its_answer_keeps_the_message(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [[KeyboardInterrupt()]]

    act_on(fake.chat, "hi")
    act_on(fake.chat, "/retry")

    assert fake.conversation == [("user", "hi"), ("assistant", "Hello.")]


def test_an_error_about_a_medium_names_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    path = tmp_path / "cut.pdf"
    path.write_bytes(b"%PDF-1.4\n")
    fake.client.answers = [[UsageError("messages[0].images[0] is a damaged PDF")]]

    act_on(fake.chat, f"what is in @{path}")

    assert f"{path} is a damaged PDF" in capsys.readouterr().err


def test_an_error_about_an_older_medium_names_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    path = tmp_path / "new.pdf"
    path.write_bytes(b"%PDF-1.4\n")
    act_on(fake.chat, "hi")
    fake.client.answers = [[UsageError("messages[0].images[0] is a damaged PDF")]]

    act_on(fake.chat, f"what is in @{path}")

    assert "messages[0].images[0] is a damaged PDF" in capsys.readouterr().err


def test_a_failed_message_is_not_sent_again_until_retry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [[KILLED]]

    act_on(fake.chat, "one")
    assert "the server closed the connection" in capsys.readouterr().err
    assert fake.conversation == []

    act_on(fake.chat, "/retry")
    assert fake.sent == [("user", "one")]
    assert fake.conversation == [("user", "one"), ("assistant", "Hello.")]


def test_what_came_before_a_failure_stays_and_is_replaced_by_retry(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [[*pieces("Half")[:1], KILLED]]

    act_on(fake.chat, "one")
    assert fake.conversation == [("user", "one"), ("assistant", "Half")]

    act_on(fake.chat, "/retry")
    assert fake.conversation == [("user", "one"), ("assistant", "Hello.")]


def test_a_thought_is_part_of_the_answer(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.client.answers = [[{"message": {"thinking": "Hm."}, "done": False}, *pieces("Yes.")]]

    act_on(fake.chat, "hi")

    assert fake.chat.session.messages[-1]["thinking"] == "Hm."


def test_an_empty_message_is_not_sent(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.composer.typed = ["", "  \n", "/bye", "never"]

    run_chat(fake.chat)

    assert fake.client.bodies == []
    assert fake.composer.typed == ["never"]


def test_an_interrupt_between_the_prompt_and_the_answer_ends_no_chat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)
    fake.composer.typed = [KeyboardInterrupt(), "two", "/bye"]

    run_chat(fake.chat)

    assert fake.sent == [("user", "two")]
    assert "(stopped)" in capsys.readouterr().err


def test_an_interrupt_while_an_error_is_printed_ends_no_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(error: LocalrunError) -> None:
        raise KeyboardInterrupt(error.message)

    fake = fake_chat(tmp_path)
    fake.composer.typed = ["one", "two", "/bye", "never"]
    fake.client.answers = [[BackendError("the runner died")], pieces("Fine.")]
    monkeypatch.setattr(fake.chat.transcript, "error", interrupt)

    run_chat(fake.chat)

    assert fake.conversation == [("user", "two"), ("assistant", "Fine.")]
    assert fake.composer.typed == ["never"]


class OneCallTools:
    """Tools whose one call is answered by a text."""

    mode = "ask"

    def definitions(self) -> list[Message]:
        return [{"type": "function", "function": {"name": "read"}}]

    def answer(
        self,
        ask: Callable[[list[Message]], Message],
        messages: list[Message],
        keep: Callable[[Message], None],
    ) -> None:
        for message in (ask(messages), {"role": "tool", "content": "42"}, ask(messages)):
            keep(message)

    def next_mode(self) -> None:
        """Have one mode."""

    def undo(self) -> str | None:
        return None

    def describe(self) -> str:
        return ""

    def describe_skills(self) -> str:
        return ""

    def close(self) -> None:
        """Do nothing."""


def test_calls_of_tools_are_executed_also_while_models_are_compared(tmp_path: Path) -> None:
    fake = fake_chat(tmp_path)
    fake.chat.tools = OneCallTools()
    act_on(fake.chat, "/compare guide")
    fake.client.answers = [pieces("Let me look."), pieces("It is 42."), pieces("No idea.")]

    act_on(fake.chat, "What is it?")

    assert [role for role, _ in fake.conversation] == ["user", "assistant", "tool", "assistant"]
    assert fake.conversation[-1] == ("assistant", "It is 42.")
    assert "tools" not in fake.client.bodies[-1]


def test_ctrl_c_while_a_message_is_kept_leaves_no_question_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_chat(tmp_path)
    presses = iter([KeyboardInterrupt()])

    def sync(*_: object) -> None:
        for press in presses:
            raise press

    monkeypatch.setattr(fake.chat.kept, "sync", sync)

    act_on(fake.chat, "one")

    assert fake.conversation == []
    assert fake.chat.session.failed == {"role": "user", "content": "one"}


def test_an_answer_that_is_not_streamed_is_printed_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path, is_streamed=False)
    fake.client.answers = [[*pieces("Half ", "an ")[:2], KeyboardInterrupt()]]

    act_on(fake.chat, "hi")

    assert capsys.readouterr().out == "Half an \n"
    assert fake.conversation[-1] == ("assistant", "Half an ")
