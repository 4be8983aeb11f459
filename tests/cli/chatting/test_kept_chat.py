"""Conversations of the screen, in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.kept_chat import KeptChat
from localrun.cli.chatting.session import SessionSettings
from localrun.conversations.store import ConversationStore
from localrun.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.cli.chatting.session import Message

SETTINGS = SessionSettings(model="guide:latest", system="Be kind.")


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    return ConversationStore(tmp_path / "chats")


@pytest.fixture
def kept(store: ConversationStore) -> KeptChat:
    return KeptChat(store, pytest.fail)


def texts(store: ConversationStore, kept: KeptChat) -> list[str]:
    assert kept.chat_id is not None
    return [one.content for one in store.path(kept.chat_id)]


def test_nothing_is_kept_of_an_empty_chat(store: ConversationStore, kept: KeptChat) -> None:
    kept.sync([], SETTINGS)

    assert store.latest() is None


def test_messages_are_kept_as_they_come(store: ConversationStore, kept: KeptChat) -> None:
    messages = [user("one")]
    kept.sync(messages, SETTINGS)
    assert texts(store, kept) == ["one"]

    messages.append(answer("1"))
    kept.sync(messages, SETTINGS)
    kept.sync(messages, SETTINGS)
    assert texts(store, kept) == ["one", "1"]


def test_another_answer_is_a_branch(store: ConversationStore, kept: KeptChat) -> None:
    first = user("one")
    kept.sync([first, answer("1")], SETTINGS)

    kept.sync([first, answer("uno")], SETTINGS)

    assert texts(store, kept) == ["one", "uno"]
    assert kept.chat_id is not None
    assert [one.content for one in store.messages(kept.chat_id)] == ["one", "1", "uno"]


def test_going_back_changes_the_head(store: ConversationStore, kept: KeptChat) -> None:
    first = [user("one"), answer("1")]
    kept.sync([*first, user("two"), answer("2")], SETTINGS)

    kept.sync(first, SETTINGS)

    assert texts(store, kept) == ["one", "1"]


def test_a_summary_follows_what_it_replaces(store: ConversationStore, kept: KeptChat) -> None:
    old, recent = [user("one"), answer("1")], [user("two"), answer("2")]
    kept.sync([*old, *recent], SETTINGS)

    kept.sync([{"role": "summary", "content": "sum"}, *recent], SETTINGS)
    assert texts(store, kept) == ["one", "1", "sum", "two", "2"]

    assert kept.chat_id is not None
    opened = KeptChat(store, pytest.fail).open(kept.chat_id)
    assert [one["content"] for one in opened] == ["sum", "two", "2"]


def test_an_opened_chat_goes_on_where_it_ended(store: ConversationStore, kept: KeptChat) -> None:
    kept.sync([user("one"), answer("1")], SETTINGS)
    assert kept.chat_id is not None

    again = KeptChat(store, pytest.fail)
    messages = again.open(kept.chat_id)
    again.sync([*messages, user("two")], SETTINGS)

    assert texts(store, again) == ["one", "1", "two"]
    assert len(store.chats(10)) == 1


def test_an_opened_chat_has_its_images(store: ConversationStore, kept: KeptChat) -> None:
    question = {**user("look"), "images": ["AAEC"], "attachments": ["a.png"]}
    kept.sync([question, answer("seen")], SETTINGS)
    assert kept.chat_id is not None

    messages = KeptChat(store, pytest.fail).open(kept.chat_id)

    assert messages == [question, answer("seen")]


def test_a_cleared_chat_begins_another(store: ConversationStore, kept: KeptChat) -> None:
    kept.sync([user("one"), answer("1")], SETTINGS)

    kept.begin_new()
    kept.sync([user("two")], SETTINGS)

    assert texts(store, kept) == ["two"]
    assert len(store.chats(10)) == 2


def test_a_failure_is_reported_once_and_never_raised(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise StorageError("the disk is full")

    reports: list[str] = []
    kept = KeptChat(store, reports.append)
    monkeypatch.setattr(ConversationStore, "append", fail)

    kept.sync([user("one")], SETTINGS)
    kept.sync([user("one"), answer("1")], SETTINGS)

    assert reports == ["this chat is not kept any more: the disk is full"]
    assert not kept.is_kept
