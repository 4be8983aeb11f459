from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from localrun.agent.configuration import ToolAccess, ToolConfiguration
from localrun.cli.chatting.tool_use import ChatTools, open_chat_tools
from localrun.cli.chatting.transcript import ChatTranscript

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Keys:
    """A composer whose user presses keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.questions: list[str] = []

    def choose(self, question: str, choices: Any) -> str:
        self.questions.append(question)
        key = self.keys.pop(0)
        assert key in {choice.key for choice in choices}
        return key

    @contextlib.contextmanager
    def answering(self, on_fold: Any) -> Iterator[None]:
        del on_fold
        yield


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def tools(tmp_path: Path, keys: Keys) -> ChatTools:
    (tmp_path / "a.txt").write_text("one\n")
    configuration = ToolConfiguration(access=ToolAccess.SHELL, folder=tmp_path.resolve())
    environ = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
    composer: Any = keys
    return open_chat_tools(configuration, environ, composer, ChatTranscript(), lambda: 2048)


def turn(tools: ChatTools, *calls: tuple[str, dict[str, Any]]) -> list[str]:
    """Return the results of the calls of one answer."""
    written = [{"function": {"name": name, "arguments": given}} for name, given in calls]
    answers = iter([{"role": "assistant", "content": "", "tool_calls": written}])
    kept: list[dict[str, Any]] = []
    tools.answer(lambda _: next(answers, {"role": "assistant", "content": "ok"}), [], kept.append)
    assert kept[-1]["content"] == "ok"
    return [message["content"] for message in kept if message["role"] == "tool"]


EDIT = ("edit_file", {"path": "a.txt", "old_text": "one", "new_text": "two"})


def test_an_edit_is_shown_refused_done_and_undone(
    tools: ChatTools, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.keys = ["n", "y"]

    assert "refused" in turn(tools, EDIT)[0]
    assert "-one\n+two\n" in capsys.readouterr().out
    assert (tmp_path / "a.txt").read_text() == "one\n"
    assert turn(tools, EDIT) == ["Edited a.txt."]
    assert (tmp_path / "a.txt").read_text() == "two\n"
    assert tools.undo() == "undid the edit of a.txt"
    assert (tmp_path / "a.txt").read_text() == "one\n"


def test_a_command_is_shown_in_full_without_control_characters(
    tools: ChatTools, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.keys = ["n"]

    turn(tools, ("run_command", {"command": "echo a\n\x1b[2Jrm -rf " + "x" * 500}))

    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "x" * 500 in shown
    assert keys.questions == ["Run this command?"]


def test_several_calls_are_one_question_or_one_by_one(tools: ChatTools, keys: Keys) -> None:
    command = ("run_command", {"command": "echo hi"})
    keys.keys = ["y", "s", "n", "t"]

    assert turn(tools, command, EDIT)[0].startswith("hi\n")
    assert len(keys.questions) == 1
    results = turn(tools, ("create_file", {"path": "b", "content": ""}), command)
    assert "refused" in results[0]
    assert results[1].startswith("hi\n")
    assert turn(tools, command)[0].startswith("hi\n")  # allowed in this chat
    assert keys.keys == []


def test_the_mode_is_shown_and_changed(tools: ChatTools, tmp_path: Path) -> None:
    tools.next_mode()

    assert tools.mode == "allow edits"
    assert turn(tools, EDIT) == ["Edited a.txt."]
    assert (tmp_path / "a.txt").read_text() == "two\n"
    assert "edit_file     allowed" in tools.describe()
    assert "sandbox" in tools.describe()
