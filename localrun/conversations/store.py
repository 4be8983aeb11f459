"""Store of conversations: kept chats with their branches, for the terminal and the server.

Each method is one transaction, and may be called by any thread and any number of processes. A new
message becomes the head of its chat. Invariants: a message follows a message of the same chat;
nothing but `remove` deletes a message.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.conversations.database import Database
from localrun.conversations.images import read_images
from localrun.conversations.message import (
    ChatSummary,
    KeptMessage,
    SearchHit,
    checked,
    storable,
    title_of,
)
from localrun.conversations.queries import (
    CHAT_COLUMNS,
    check_message,
    count_change,
    find_chat,
    insert_message,
    list_chats,
    read_chat,
    read_messages,
    read_path,
    read_revision,
    read_settings,
    remove_chats,
    search_chats,
    to_text,
    unused_id,
)
from localrun.conversations.searching import SEARCH_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

MAX_TITLE = 200
MAX_PAGE = 1000


class ConversationStore:
    """Kept chats of one folder; the folder is made by the first operation."""

    def __init__(
        self,
        folder: Path,
        clock_s: Callable[[], float] = time.time,
        *,
        search_s: float = SEARCH_S,
    ) -> None:
        self._database = Database(folder)
        self._search_s = search_s
        self._clock_s = clock_s

    @property
    def file(self) -> Path:
        """Return the file of the database."""
        return self._database.path

    def create(self, model: str, *, settings: dict[str, Any] | None = None, title: str = "") -> str:
        """Create an empty chat; return its id.

        Raises:
            StorageError: the chat cannot be written, here and in every method.
            IntegrityError: a newer localrun wrote the chats, here and in every method.
        """
        return self._database.write(self._create, model, settings or {}, title)

    def append(
        self,
        chat_id: str,
        message: KeptMessage,
        *,
        parent: int | None,
        images: Sequence[bytes] = (),
    ) -> int:
        """Append a message after ``parent``, None for a beginning; return the message's id.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: the parent is not a message of the chat, or the message is not valid, or
                the images are too large.
        """
        return self._database.write(self._append, chat_id, checked(message), parent, images)

    def append_to_head(
        self, chat_id: str, message: KeptMessage, *, images: Sequence[bytes] = ()
    ) -> int:
        """Append a message after the head of a chat; return the message's id.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: the message is not valid, or the images are too large.
        """
        return self._database.write(self._append_to_head, chat_id, checked(message), images)

    def set_head(self, chat_id: str, message_id: int | None) -> None:
        """Go to a message of a chat, None for its beginning: the next one begins a branch.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: the chat has no such message.
        """
        self._database.write(self._set_head, chat_id, message_id)

    def rename(self, chat_id: str, title: str) -> None:
        """Give a chat another title.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        self._database.write(self._rename, chat_id, title_of(title, MAX_TITLE))

    def change_settings(self, chat_id: str, settings: dict[str, Any]) -> None:
        """Replace the settings of a chat.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        self._database.write(self._change_settings, chat_id, settings)

    def remove(self, *chat_ids: str) -> None:
        """Delete chats with all their messages; the bytes are overwritten.

        Raises:
            ConversationNotFoundError: there is no such chat; then none is deleted.
        """
        self._database.write(remove_chats, chat_ids)
        self._database.wipe()

    def path(self, chat_id: str) -> list[KeptMessage]:
        """Return the messages from the beginning of a chat to its head.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(read_path, chat_id)

    def messages(self, chat_id: str) -> list[KeptMessage]:
        """Return the messages of all branches of a chat, oldest first.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(read_messages, chat_id)

    def images(self, chat_id: str, message_ids: Sequence[int]) -> dict[int, tuple[bytes, ...]]:
        """Return the images of those messages of a chat that have some."""
        return self._database.read(read_images, chat_id, message_ids)

    def settings(self, chat_id: str) -> dict[str, Any]:
        """Return the settings of a chat.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(read_settings, chat_id)

    def chats(self, limit: int = 50, before: str | None = None) -> list[ChatSummary]:
        """Return chats, the last changed first; after the chat ``before`` of the same order.

        Raises:
            ConversationNotFoundError: there is no chat ``before``.
        """
        return self._database.read(list_chats, min(limit, MAX_PAGE), before)

    def latest(self) -> ChatSummary | None:
        """Return the last changed chat that has messages, None without any."""
        return next((chat for chat in self.chats(MAX_PAGE) if chat.num_messages), None)

    def find(self, id_or_prefix: str) -> ChatSummary:
        """Return the chat of an id, or of the only id that begins so.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: several ids begin so.
        """
        return self._database.read(find_chat, id_or_prefix)

    def search(self, text: str, limit: int = 50) -> list[SearchHit]:
        """Return messages with all words of a text, the newest first.

        Raises:
            UsageError: the text is empty or too long, or the search takes too long.
        """
        return self._database.read(search_chats, text, min(limit, MAX_PAGE), self._search_s)

    def revision(self) -> int:
        """Return a number that grows with every change of any chat."""
        return self._database.read(read_revision)

    def _create(
        self, database: sqlite3.Connection, model: str, settings: dict[str, Any], title: str
    ) -> str:
        chat_id, now_s = unused_id(database), self._clock_s()
        database.execute(
            f"INSERT INTO chats ({CHAT_COLUMNS}, settings) VALUES (?, ?, ?, ?, ?, 0, NULL, ?)",  # noqa: S608 - of constants
            (
                chat_id,
                title_of(title, MAX_TITLE),
                storable(model),
                now_s,
                now_s,
                to_text(settings),
            ),
        )
        count_change(database)
        return chat_id

    def _append(
        self,
        database: sqlite3.Connection,
        chat_id: str,
        message: KeptMessage,
        parent: int | None,
        images: Sequence[bytes],
    ) -> int:
        chat = read_chat(database, chat_id)
        if parent is not None:
            check_message(database, chat_id, parent)
        now_s = self._clock_s()
        message = replace(message, parent=parent, created_s=message.created_s or now_s)
        message_id = insert_message(database, chat_id, message, images)
        title = chat.title or (title_of(message.content) if message.role == "user" else "")
        database.execute(
            "UPDATE chats SET head = ?, updated_s = ?, title = ? WHERE id = ?",
            (message_id, now_s, title, chat_id),
        )
        count_change(database)
        return message_id

    def _append_to_head(
        self,
        database: sqlite3.Connection,
        chat_id: str,
        message: KeptMessage,
        images: Sequence[bytes],
    ) -> int:
        head = read_chat(database, chat_id).head
        return self._append(database, chat_id, message, head, images)

    def _set_head(self, database: sqlite3.Connection, chat_id: str, message_id: int | None) -> None:
        read_chat(database, chat_id)
        if message_id is not None:
            check_message(database, chat_id, message_id)
        values = (message_id, self._clock_s(), chat_id)
        database.execute("UPDATE chats SET head = ?, updated_s = ? WHERE id = ?", values)
        count_change(database)

    def _rename(self, database: sqlite3.Connection, chat_id: str, title: str) -> None:
        read_chat(database, chat_id)
        database.execute("UPDATE chats SET title = ? WHERE id = ?", (title, chat_id))
        count_change(database)

    def _change_settings(
        self, database: sqlite3.Connection, chat_id: str, settings: dict[str, Any]
    ) -> None:
        read_chat(database, chat_id)
        query = "UPDATE chats SET settings = ? WHERE id = ?"
        database.execute(query, (to_text(settings), chat_id))
        count_change(database)
