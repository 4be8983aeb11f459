"""Images of kept messages: kept, bounded, and gone with their chat."""

from __future__ import annotations

import contextlib
import sqlite3
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from localrun.conversations import images
from localrun.conversations.message import KeptMessage
from localrun.conversations.store import ConversationStore
from localrun.errors import UsageError
from localrun.server.middleware.bodies import MAX_BODY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

LOOK = KeptMessage(role="user", content="look")


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    return ConversationStore(tmp_path / "chats")


def num_rows(store: ConversationStore) -> int:
    with contextlib.closing(sqlite3.connect(store.file)) as database:
        return int(database.execute("SELECT COUNT(*) FROM images").fetchone()[0])


def test_images_are_read_in_their_order_and_only_if_asked_for(store: ConversationStore) -> None:
    chat = store.create("guide")
    with_images = store.append_to_head(chat, LOOK, images=(b"one", b"\0two"))
    without = store.append_to_head(chat, LOOK)

    assert [one.num_images for one in store.path(chat)] == [2, 0]
    assert [one.num_images for one in store.messages(chat)] == [2, 0]
    assert store.images(chat, [with_images, without]) == {with_images: (b"one", b"\0two")}


def test_images_of_another_chat_are_not_read(store: ConversationStore) -> None:
    message = store.append_to_head(store.create("guide"), LOOK, images=(b"one",))

    assert store.images(store.create("guide"), [message]) == {}


def test_images_are_removed_with_their_chat(store: ConversationStore) -> None:
    chat, other = store.create("guide"), store.create("guide")
    for one in (chat, other):
        store.append_to_head(one, LOOK, images=(b"image of " + one.encode(),))

    store.remove(chat)

    assert num_rows(store) == 1
    assert b"image of " + chat.encode() not in store.file.read_bytes()


def test_too_many_or_too_large_images_keep_nothing(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_IMAGES", 2)
    monkeypatch.setattr(images, "MAX_MESSAGE_BYTES", 10)
    monkeypatch.setattr(images, "MAX_CHAT_BYTES", 15)
    chat = store.create("guide")
    for wrong in ((b"a", b"b", b"c"), (b"a" * 6, b"b" * 6)):
        with pytest.raises(UsageError, match="at most 2 images"):
            store.append_to_head(chat, LOOK, images=wrong)
    store.append_to_head(chat, LOOK, images=(b"a" * 10,))

    with pytest.raises(UsageError, match="images of a kept chat"):
        store.append_to_head(chat, LOOK, images=(b"a" * 6,))

    assert [one.num_images for one in store.path(chat)] == [1]
    store.append_to_head(chat, LOOK, images=(b"a" * 5,))


def test_the_media_of_a_message_fit_the_body_of_a_request_with_a_long_text() -> None:
    in_base64 = images.MAX_MESSAGE_BYTES * 4 / 3

    assert in_base64 + 2**21 < MAX_BODY_BYTES
    page = resources.files("localrun.server.web").joinpath("conversation.js").read_text()
    assert f"MAX_MEDIA = {images.MAX_MESSAGE_BYTES >> 20} << 20;" in page


def test_a_database_of_an_older_program_takes_images(store: ConversationStore) -> None:
    chat = store.create("guide")
    store.append_to_head(chat, LOOK)
    with contextlib.closing(sqlite3.connect(store.file)) as database:
        database.execute("DROP TABLE images")

    assert [one.num_images for one in store.path(chat)] == [0]
    store.append_to_head(chat, LOOK, images=(b"one",))
    assert num_rows(store) == 1
