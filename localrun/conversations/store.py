"""Store of conversations: kept chats with their branches, for the terminal and the server.

Each method is one transaction, and may be called by any thread and any number of processes. A new
message becomes the head of its chat. Invariants: a message follows a message of the same chat;
nothing but `remove` deletes a message.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.conversations.database import Database
from localrun.conversations.message import (
    ChatSummary,
    KeptMessage,
    SearchHit,
    checked,
    storable,
    title_of,
)
from localrun.conversations.schema import drop_deleted
from localrun.conversations.searching import SEARCH_S, find_messages
from localrun.errors import ConversationNotFoundError, UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

MAX_TITLE = 200
MAX_PATH = 100_000  # messages
MAX_PAGE = 1000
ID_BYTES = 4
LARGEST_ID = 2**63 - 1
CHAT_COLUMNS = "id, title, model, created_s, updated_s, num_messages, head"
MESSAGE_COLUMNS = (
    "role, content, thinking, tool_calls, tool_name, attachments, model, created_s, id, parent"
)
PATH = f"""
WITH RECURSIVE path (id, next, depth) AS (
    SELECT id, parent, 0 FROM messages WHERE id = ? AND chat = ?
    UNION ALL
    SELECT messages.id, messages.parent, depth + 1 FROM messages
    JOIN path ON messages.id = path.next WHERE depth < {MAX_PATH}
)
SELECT {MESSAGE_COLUMNS} FROM messages JOIN path USING (id) ORDER BY depth DESC
"""  # noqa: S608 - of constants


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

    def append(self, chat_id: str, message: KeptMessage, *, parent: int | None) -> int:
        """Append a message after ``parent``, None for a beginning; return the message's id.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: the parent is not a message of the chat, or the message is not valid.
        """
        return self._database.write(self._append, chat_id, checked(message), parent)

    def append_to_head(self, chat_id: str, message: KeptMessage) -> int:
        """Append a message after the head of a chat; return the message's id.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: the message is not valid.
        """
        return self._database.write(self._append_to_head, chat_id, checked(message))

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

    def remove(self, *chat_ids: str) -> None:
        """Delete chats with all their messages; the bytes are overwritten.

        Raises:
            ConversationNotFoundError: there is no such chat; then none is deleted.
        """
        self._database.write(_remove, chat_ids)
        self._database.wipe()

    def path(self, chat_id: str) -> list[KeptMessage]:
        """Return the messages from the beginning of a chat to its head.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(_path, chat_id)

    def messages(self, chat_id: str) -> list[KeptMessage]:
        """Return the messages of all branches of a chat, oldest first.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(_messages, chat_id)

    def settings(self, chat_id: str) -> dict[str, Any]:
        """Return the settings that a chat was created with.

        Raises:
            ConversationNotFoundError: there is no such chat.
        """
        return self._database.read(_settings, chat_id)

    def chats(self, limit: int = 50, before: str | None = None) -> list[ChatSummary]:
        """Return chats, the last changed first; after the chat ``before`` of the same order.

        Raises:
            ConversationNotFoundError: there is no chat ``before``.
        """
        return self._database.read(_chats, min(limit, MAX_PAGE), before)

    def latest(self) -> ChatSummary | None:
        """Return the last changed chat that has messages, None without any."""
        return next((chat for chat in self.chats(MAX_PAGE) if chat.num_messages), None)

    def find(self, id_or_prefix: str) -> ChatSummary:
        """Return the chat of an id, or of the only id that begins so.

        Raises:
            ConversationNotFoundError: there is no such chat.
            UsageError: several ids begin so.
        """
        return self._database.read(_find, id_or_prefix)

    def search(self, text: str, limit: int = 50) -> list[SearchHit]:
        """Return messages with all words of a text, the newest first.

        Raises:
            UsageError: the text is empty or too long, or the search takes too long.
        """
        return self._database.read(_search, text, min(limit, MAX_PAGE), self._search_s)

    def revision(self) -> int:
        """Return a number that grows with every change of any chat."""
        return self._database.read(_revision)

    def _create(
        self, database: sqlite3.Connection, model: str, settings: dict[str, Any], title: str
    ) -> str:
        chat_id, now_s = _unused_id(database), self._clock_s()
        database.execute(
            f"INSERT INTO chats ({CHAT_COLUMNS}, settings) VALUES (?, ?, ?, ?, ?, 0, NULL, ?)",  # noqa: S608 - of constants
            (
                chat_id,
                title_of(title, MAX_TITLE),
                storable(model),
                now_s,
                now_s,
                _json(settings),
            ),
        )
        _count_change(database)
        return chat_id

    def _append(
        self, database: sqlite3.Connection, chat_id: str, message: KeptMessage, parent: int | None
    ) -> int:
        chat = _chat(database, chat_id)
        if parent is not None:
            _check_message(database, chat_id, parent)
        now_s = self._clock_s()
        message = replace(message, parent=parent, created_s=message.created_s or now_s)
        message_id = _insert(database, chat_id, message)
        title = chat.title or (title_of(message.content) if message.role == "user" else "")
        database.execute(
            "UPDATE chats SET head = ?, updated_s = ?, title = ? WHERE id = ?",
            (message_id, now_s, title, chat_id),
        )
        _count_change(database)
        return message_id

    def _append_to_head(
        self, database: sqlite3.Connection, chat_id: str, message: KeptMessage
    ) -> int:
        return self._append(database, chat_id, message, _chat(database, chat_id).head)

    def _set_head(self, database: sqlite3.Connection, chat_id: str, message_id: int | None) -> None:
        _chat(database, chat_id)
        if message_id is not None:
            _check_message(database, chat_id, message_id)
        values = (message_id, self._clock_s(), chat_id)
        database.execute("UPDATE chats SET head = ?, updated_s = ? WHERE id = ?", values)
        _count_change(database)

    def _rename(self, database: sqlite3.Connection, chat_id: str, title: str) -> None:
        _chat(database, chat_id)
        database.execute("UPDATE chats SET title = ? WHERE id = ?", (title, chat_id))
        _count_change(database)


def _unused_id(database: sqlite3.Connection) -> str:
    query = "SELECT 1 FROM chats WHERE id = ?"
    while True:
        chat_id = secrets.token_hex(ID_BYTES)
        if database.execute(query, (chat_id,)).fetchone() is None:
            return chat_id


def _remove(database: sqlite3.Connection, chat_ids: Sequence[str]) -> None:
    for chat_id in chat_ids:
        _chat(database, chat_id)
        database.execute("DELETE FROM messages WHERE chat = ?", (chat_id,))
        database.execute("DELETE FROM chats WHERE id = ?", (chat_id,))
    drop_deleted(database)
    _count_change(database)


def _chat(database: sqlite3.Connection, chat_id: str) -> ChatSummary:
    query = f"SELECT {CHAT_COLUMNS} FROM chats WHERE id = ?"  # noqa: S608 - of constants
    row = database.execute(query, (storable(chat_id),)).fetchone()
    if row is None:
        raise ConversationNotFoundError(f"there is no chat {chat_id}", hint="localrun chats list")
    return _summary(row)


def _summary(row: tuple[Any, ...]) -> ChatSummary:
    return ChatSummary(**dict(zip(CHAT_COLUMNS.split(", "), row, strict=True)))


def _message(row: tuple[Any, ...]) -> KeptMessage:
    fields = dict(zip(MESSAGE_COLUMNS.split(", "), row, strict=True))
    for name in ("tool_calls", "attachments"):
        fields[name] = tuple(json.loads(fields[name]))
    return KeptMessage(**fields)


def _insert(database: sqlite3.Connection, chat_id: str, message: KeptMessage) -> int:
    values = [getattr(message, name) for name in MESSAGE_COLUMNS.split(", ") if name != "id"]
    texts = [_json(value) if isinstance(value, tuple) else value for value in values]
    columns = MESSAGE_COLUMNS.replace(" id,", "")
    marks = ", ".join("?" * (len(texts) + 1))
    query = f"INSERT INTO messages ({columns}, chat) VALUES ({marks})"  # noqa: S608 - of constants
    return int(database.execute(query, (*texts, chat_id)).lastrowid or 0)


def _json(value: object) -> str:
    return storable(json.dumps(value, ensure_ascii=False))


def _check_message(database: sqlite3.Connection, chat_id: str, message_id: int) -> None:
    query = "SELECT 1 FROM messages WHERE id = ? AND chat = ?"
    is_number = 0 < message_id <= LARGEST_ID
    if not is_number or database.execute(query, (message_id, chat_id)).fetchone() is None:
        raise UsageError(f"chat {chat_id} has no message {message_id}")


def _count_change(database: sqlite3.Connection) -> None:
    database.execute("UPDATE changes SET revision = revision + 1")


def _path(database: sqlite3.Connection, chat_id: str) -> list[KeptMessage]:
    head = _chat(database, chat_id).head
    return [_message(row) for row in database.execute(PATH, (head, chat_id))]


def _messages(database: sqlite3.Connection, chat_id: str) -> list[KeptMessage]:
    _chat(database, chat_id)
    query = f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE chat = ? ORDER BY id LIMIT {MAX_PATH}"  # noqa: S608 - of constants
    return [_message(row) for row in database.execute(query, (chat_id,))]


def _settings(database: sqlite3.Connection, chat_id: str) -> dict[str, Any]:
    _chat(database, chat_id)
    query = "SELECT settings FROM chats WHERE id = ?"
    settings: dict[str, Any] = json.loads(database.execute(query, (chat_id,)).fetchone()[0])
    return settings


def _chats(database: sqlite3.Connection, limit: int, before: str | None) -> list[ChatSummary]:
    where, values = "", list[Any]()
    if before is not None:
        last = _chat(database, before)
        where, values = "WHERE (updated_s, id) < (?, ?)", [last.updated_s, last.id]
    query = f"SELECT {CHAT_COLUMNS} FROM chats {where} ORDER BY updated_s DESC, id DESC LIMIT ?"  # noqa: S608 - of constants
    return [_summary(row) for row in database.execute(query, [*values, limit])]


def _find(database: sqlite3.Connection, prefix: str) -> ChatSummary:
    start = storable(prefix).lower()
    query = f"SELECT {CHAT_COLUMNS} FROM chats WHERE id >= ? AND id < ? LIMIT 2"  # noqa: S608 - of constants
    rows = database.execute(query, (start, start + "g")).fetchall() if start else []
    if not rows:
        raise ConversationNotFoundError(f"there is no chat {prefix}", hint="localrun chats list")
    if len(rows) > 1:
        raise UsageError(f"several chats begin with {prefix}", hint="localrun chats list")
    return _summary(rows[0])


def _search(
    database: sqlite3.Connection, text: str, limit: int, longest_s: float
) -> list[SearchHit]:
    return [
        SearchHit(chat=_chat(database, chat_id), message_id=message_id, role=role, excerpt=line)
        for message_id, chat_id, role, line in find_messages(database, text, limit, longest_s)
    ]


def _revision(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT revision FROM changes").fetchone()[0])
