"""Commands for whole conversations."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.kept_chat import KeptChat
from localrun.conversations.store import ConversationStore
from tests.cli.chatting.fakes import FakeChat, fake_chat

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path) -> FakeChat:
    chat = fake_chat(tmp_path, system="Be kind.")
    chat.chat.kept = KeptChat(ConversationStore(tmp_path / "chats"), pytest.fail)
    return chat


def test_clear_begins_a_new_conversation_with_the_same_system_prompt(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "one")
    act_on(fake.chat, "/clear")
    act_on(fake.chat, "two")

    assert "Cleared session context" in capsys.readouterr().err
    assert fake.sent == [("system", "Be kind."), ("user", "two")]
    assert fake.chat.kept.store is not None
    assert len(fake.chat.kept.store.chats()) == 2


def test_load_begins_a_conversation_with_the_models_own_system_prompt(fake: FakeChat) -> None:
    act_on(fake.chat, "one")
    act_on(fake.chat, "/load guide")
    act_on(fake.chat, "two")

    assert fake.sent == [("user", "two")]


def test_load_of_an_unknown_model_keeps_the_conversation(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALRUN_OFFLINE", "1")
    act_on(fake.chat, "one")

    act_on(fake.chat, "/load nosuch")

    assert "error: " in capsys.readouterr().err
    assert len(fake.conversation) == 2
    assert fake.chat.session.settings.system == "Be kind."


def test_a_kept_chat_is_listed_and_opened(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "one")
    chat_id = fake.chat.kept.chat_id
    act_on(fake.chat, "/clear")
    capsys.readouterr()

    act_on(fake.chat, "/chats")
    assert str(chat_id) in capsys.readouterr().out

    act_on(fake.chat, f"/chats {str(chat_id)[:5]}")
    assert ">>> one\nHello.\n" in capsys.readouterr().out
    assert fake.conversation == [("user", "one"), ("assistant", "Hello.")]
    assert fake.chat.kept.chat_id == chat_id


def test_chats_that_are_not_kept_are_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake_chat(tmp_path).chat, "/chats")

    assert "chats are not kept" in capsys.readouterr().err


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_conversation_is_exported(
    fake: FakeChat, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_kept: bool
) -> None:
    if not is_kept:
        fake.chat.kept = KeptChat(None, pytest.fail)
    act_on(fake.chat, "one")
    capsys.readouterr()

    act_on(fake.chat, "/export md")
    assert "## You\n\none\n\n## Assistant (guide:latest)\n\nHello.\n" in capsys.readouterr().out

    act_on(fake.chat, f"/export json {tmp_path / 'chat.json'}")
    exported = json.loads((tmp_path / "chat.json").read_text())
    assert [one["content"] for one in exported["messages"]] == ["one", "Hello."]
    assert exported["messages"][1]["parent"] == exported["messages"][0]["id"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_export_as_json_has_the_images(fake: FakeChat, tmp_path: Path, *, is_kept: bool) -> None:
    if not is_kept:
        fake.chat.kept = KeptChat(None, pytest.fail)
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    act_on(fake.chat, f"/file {tmp_path / 'paper.pdf'}")
    act_on(fake.chat, "one")

    act_on(fake.chat, f"/export json {tmp_path / 'chat.json'}")

    exported = json.loads((tmp_path / "chat.json").read_text())
    images = [base64.b64encode(b"%PDF-1.7\n").decode()]
    assert [one.get("images") for one in exported["messages"]] == [images, None]


def test_an_export_overwrites_nothing(
    fake: FakeChat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")

    act_on(fake.chat, f"/export md {tmp_path / 'mine'}")

    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_unknown_format_is_an_error(fake: FakeChat, capsys: pytest.CaptureFixture[str]) -> None:
    act_on(fake.chat, "/export pdf")

    assert "/export md [FILE], or /export json [FILE]" in capsys.readouterr().err
