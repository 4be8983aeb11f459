"""``localrun open``: the address of the page, and the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

import pytest

from localrun.conversations.store import ConversationStore
from tests.cli.fake_server import local_fake_server
from tests.cli.inside import run_inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.fake_server import FakeServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    with local_fake_server() as running:
        monkeypatch.setenv("LOCALRUN_HOST", running.address)
        monkeypatch.setenv("LOCALRUN_CHATS", str(tmp_path))
        yield running


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    addresses: list[str] = []

    def open_address(address: str) -> bool:
        addresses.append(address)
        return len(addresses) == 1

    monkeypatch.setattr(webbrowser, "open", open_address)
    return addresses


def test_the_page_is_opened_and_its_address_printed(server: FakeServer, opened: list[str]) -> None:
    done = run_inside("open")

    assert (done.code, done.stdout) == (0, f"http://{server.address}/\n")
    assert opened == [f"http://{server.address}/"]


def test_a_kept_chat_is_opened_by_the_beginning_of_its_id(
    server: FakeServer, opened: list[str], tmp_path: Path
) -> None:
    chat = ConversationStore(tmp_path).create("guide")

    run_inside("open", "--chat", chat[:4])

    assert opened == [f"http://{server.address}/#/chat/{chat}"]
    assert run_inside("open", "--chat", "ffffffffff").code == 3


def test_without_a_browser_the_address_is_what_is_left(
    server: FakeServer, opened: list[str]
) -> None:
    assert run_inside("open", "--no-browser").stdout == f"http://{server.address}/\n"
    assert opened == []
    opened.append("the browser is gone")
    assert "open the address" in run_inside("open").stderr
