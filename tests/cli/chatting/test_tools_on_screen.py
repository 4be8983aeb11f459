"""Tools in a chat on a terminal: questions, edits refused and undone, a real MCP server."""

from __future__ import annotations

import sys

import pytest

assert sys.platform != "win32"

import json
from typing import TYPE_CHECKING, Any

import psutil

from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STATE = {"name": "guide:latest", "context": 100_000, "size_bytes": 5, "size_gpu_bytes": 0}
EDIT = {"path": "a.txt", "old_text": "one", "new_text": "two"}
SERVER = f"{sys.executable} -m tests.fakes.mcp_server"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "a.txt").write_text("one\nmore\n")
    (tmp_path / "secret.txt").write_text("hidden words")
    return folder


@pytest.fixture
def start(server: FakeServer, tmp_path: Path, folder: Path) -> Iterator[Callable[..., PtyScreen]]:
    """Return a function that starts a chat with tools below the folder."""
    started: list[PtyScreen] = []
    server.script.running = [STATE]
    server.script.answer = [say("All done now."), END]

    def begin(*options: str) -> PtyScreen:
        environ = {**server.environment(tmp_path), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environ.pop("COLUMNS", None)
        command = [*PROGRAM, "run", "guide", *options, "--tools", str(folder)]
        screen = PtyScreen(command, environ, columns=100, lines=40)
        started.append(screen)
        screen.wait_for("tools: ")
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


def calls(*named: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the frames of an answer that calls tools."""
    written = [{"function": {"name": name, "arguments": given}} for name, given in named]
    return [{"message": {"role": "assistant", "content": "", "tool_calls": written}}, END]


def ask(screen: PtyScreen, text: str = "Please do it.") -> None:
    screen.type(text)
    screen.key("enter")


def results(server: FakeServer) -> list[str]:
    """Return the results of tools that the model has been sent."""
    messages = server.script.heard[-1]["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


def test_an_edit_is_refused_then_done_and_undone(
    start: Callable[..., PtyScreen], server: FakeServer, folder: Path
) -> None:
    screen = start("--tools=write")
    server.script.answers = [calls(("edit_file", EDIT))]
    ask(screen)
    shown = screen.wait_for("Edit this file?")

    assert "-one" in shown
    assert "+two" in shown
    screen.key("n")
    screen.wait_for("All done now.")
    assert (folder / "a.txt").read_text() == "one\nmore\n"
    assert "refused" in results(server)[-1]

    server.script.answers = [calls(("edit_file", EDIT))]
    ask(screen, "Again.")
    screen.wait_for(lambda shown: shown.count("Edit this file?") == 2)
    screen.key("y")
    screen.wait_for(lambda shown: shown.count("All done now.") == 2)
    assert (folder / "a.txt").read_text() == "two\nmore\n"

    ask(screen, "/undo")
    screen.wait_for("undid the edit of a.txt")
    assert (folder / "a.txt").read_text() == "one\nmore\n"


def test_nothing_outside_the_folder_is_read_and_the_model_is_told(
    start: Callable[..., PtyScreen], server: FakeServer
) -> None:
    screen = start()
    server.script.answers = [
        calls(("read_file", {"path": "../secret.txt"}), ("read_file", {"path": "a.txt"}))
    ]

    ask(screen)
    screen.wait_for("All done now.")

    outside, inside = results(server)
    assert "hidden" not in outside
    assert "one" in inside


def test_several_calls_are_one_question_and_a_tool_can_be_allowed_for_the_chat(
    start: Callable[..., PtyScreen], server: FakeServer, folder: Path
) -> None:
    screen = start("--tools=write")
    new = [("create_file", {"path": f"{name}.txt", "content": "x\n"}) for name in "bc"]
    server.script.answers = [calls(*new), calls(("create_file", {"path": "d.txt", "content": "x"}))]

    ask(screen)
    screen.wait_for("Allow these 2 calls?")
    screen.key("t")
    screen.wait_for("All done now.")

    assert sorted(file.name for file in folder.iterdir()) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert screen.everything().count("Allow these") == 1


def test_shift_tab_changes_the_mode_in_the_toolbar(
    start: Callable[..., PtyScreen], server: FakeServer, folder: Path
) -> None:
    screen = start("--tools=write")
    screen.wait_for("tools: ask")

    screen.key("s-tab")
    screen.wait_for(lambda shown: "tools: ask" not in shown)
    server.script.answers = [calls(("edit_file", EDIT))]
    ask(screen)
    screen.wait_for("All done now.")

    assert (folder / "a.txt").read_text() == "two\nmore\n"


def test_a_result_is_folded_and_unfolded(
    start: Callable[..., PtyScreen], server: FakeServer, folder: Path
) -> None:
    (folder / "long.txt").write_text("".join(f"line {number}\n" for number in range(15)))
    screen = start()
    server.script.answers = [calls(("read_file", {"path": "long.txt"}))]
    ask(screen)
    shown = screen.wait_for("All done now.")

    assert "line 13" not in shown
    screen.key("c-o")
    screen.wait_for("line 13")


def test_a_real_mcp_server_is_called_after_a_question_and_ends_with_the_chat(
    start: Callable[..., PtyScreen], server: FakeServer
) -> None:
    screen = start("--mcp", SERVER)
    ask(screen, "/tools")
    (name,) = {word for word in screen.wait_for("Add two numbers.").split() if "_add" in word}
    children = psutil.Process(screen.pid).children(recursive=True)
    server.script.answers = [calls((name, {"a": 27, "b": 58}), (name, {"a": "x", "b": 1}))]

    ask(screen)
    screen.wait_for("Allow these 2 calls?")
    screen.key("y")
    screen.wait_for("All done now.")

    good, bad = results(server)
    assert good == "85"
    assert "rror" in bad
    assert json.dumps(server.script.heard[0]["tools"]).count("Add two numbers.") == 1
    ask(screen, "/bye")
    assert screen.exit_status() == 0
    assert children
    wait_until(lambda: not any(child.is_running() for child in children), "the server ends")


def test_ctrl_c_stops_a_call_and_the_chat_goes_on(
    start: Callable[..., PtyScreen], server: FakeServer
) -> None:
    screen = start("--mcp", SERVER)
    ask(screen, "/tools")
    shown = screen.wait_for("Never answer.")
    (name,) = {word for word in shown.split() if "wait_for_ever" in word}
    server.script.answers = [calls((name, {}))]

    ask(screen)
    screen.wait_for(f"Call {name}?")
    screen.key("y")
    screen.wait_for("(Enter: n) y")
    screen.key("c-c")
    screen.wait_for(lambda shown: "stopped" in shown)
    ask(screen, "Go on.")

    screen.wait_for("All done now.")
