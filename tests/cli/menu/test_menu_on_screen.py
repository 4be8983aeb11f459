"""The menu of a bare ``localrun`` on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

assert sys.platform != "win32"

from localrun.conversations.message import KeptMessage
from localrun.conversations.store import ConversationStore
from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.fake_server import FakeServer


@pytest.fixture
def start(server: FakeServer, tmp_path: Path) -> Iterator[Callable[..., PtyScreen]]:
    started: list[PtyScreen] = []

    def begin(*words: str, columns: int = 80, term: str = "xterm") -> PtyScreen:
        environ = {**server.environment(tmp_path), "TERM": term, "LC_ALL": "C.UTF-8"}
        environ |= {"LOCALRUN_MODELS": str(tmp_path / "models"), "LOCALRUN_OFFLINE": "1"}
        environ.pop("COLUMNS", None)
        screen = PtyScreen([*PROGRAM, *words], environ, columns=columns, lines=24)
        started.append(screen)
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


@pytest.mark.parametrize("columns", [20, 80])
def test_an_entry_is_typed_and_taken(start: Callable[..., PtyScreen], columns: int) -> None:
    screen = start(columns=columns)
    screen.wait_for("Chat with guide")

    assert all(len(line) <= columns for line in screen.screen().splitlines())
    screen.type("guide")
    screen.wait_for("localrun: guide")
    screen.key("enter")
    shown = screen.wait_for(">>>")

    assert "Chat with guide" not in shown, "the menu is gone"


@pytest.mark.parametrize("key", ["esc", "c-c", "c-d"])
def test_a_key_leaves_and_nothing_stays(start: Callable[..., PtyScreen], key: str) -> None:
    screen = start()
    screen.wait_for("Help")

    screen.key(key)

    assert screen.exit_status() == 0
    assert "Chat with" not in screen.screen()


def test_the_last_chat_goes_on(start: Callable[..., PtyScreen], tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "chats")
    chat = store.create("guide:latest")
    store.append(chat, KeptMessage(role="user", content="Where were we?"), parent=None)
    screen = start()
    screen.wait_for("Go on with: Where were we?")

    screen.key("enter")

    screen.wait_for(lambda shown: ">>> Where were we?" in shown)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_simple_terminal_asks_for_a_number(start: Callable[..., PtyScreen], term: str) -> None:
    screen = start(term=term)
    screen.wait_for("Number (empty: leave):")

    screen.type("\r")

    assert screen.exit_status() == 0


def test_declining_a_pull_costs_nothing(start: Callable[..., PtyScreen], tmp_path: Path) -> None:
    screen = start("run", "qwen3:0.6b")

    screen.wait_for("LOCALRUN_OFFLINE")

    assert screen.exit_status() == 5
    assert not list((tmp_path / "models").rglob("*.partial"))
