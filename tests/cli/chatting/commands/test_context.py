"""Commands for the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.services import models
from tests.cli.chatting.fakes import FakeChat, fake_chat

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "embedded_projectors", dict)  # guide without eyes and ears
    return fake_chat(tmp_path)


def test_tokens_are_counted_by_kind(fake: FakeChat, capsys: pytest.CaptureFixture[str]) -> None:
    act_on(fake.chat, "/set system Be very kind.")
    act_on(fake.chat, "one two")
    capsys.readouterr()

    act_on(fake.chat, "/tokens")

    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows == {
        "system prompt": "3", "your messages": "2", "answers": "1", "next request": "4"
    }  # fmt: skip


def test_the_prompt_is_the_whole_request(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set system Be kind.")

    act_on(fake.chat, "/prompt hi")

    assert capsys.readouterr().out == "<system>Be kind.<user>hi\n"
    assert fake.conversation == []


def test_a_sound_is_refused_with_the_reason(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    note = tmp_path / "note.wav"
    note.write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")

    act_on(fake.chat, f"/image {note}")

    assert "sounds cannot be sent, guide:latest has no capability" in capsys.readouterr().err
    assert fake.chat.media == []


def test_there_is_nothing_to_compact_at_first(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/compact")

    assert "There are no older turns to compact." in capsys.readouterr().err
