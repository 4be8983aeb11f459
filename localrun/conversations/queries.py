"""Queries of the database of chats: rows become values here, and nowhere else.

Each function works on an open database, within the transaction of its caller.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from localrun.conversations.images import NUM_IMAGES, insert_images
from localrun.conversations.message import ChatSummary, KeptMessage, SearchHit, storable
from localrun.conversations.schema import drop_deleted
from localrun.conversations.searching import find_messages
from localrun.errors import ConversationNotFoundError, UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MAX_PATH = 100_000  # messages
ID_BYTES = 4
LARGEST_ID = 2**63 - 1
CHAT_COLUMNS = "id, title, model, created_s, updated_s, num_messages, head"
MESSAGE_COLUMNS = (
    "role, content, thinking, tool_calls, tool_name, attachments, model, created_s, id, parent"
)
SHOWN_COLUMNS = f"{MESSAGE_COLUMNS}, {NUM_IMAGES}"
PATH = f"""
WITH RECURSIVE path (id, next, depth) AS (
    SELECT id, parent, 0 FROM messages WHERE id = ? AND chat = ?
    UNION ALL
    SELECT messages.id, messages.parent, depth + 1 FROM messages
    JOIN path ON messages.id = path.next WHERE depth < {MAX_PATH}
)
SELECT {SHOWN_COLUMNS} FROM messages JOIN path USING (id) ORDER BY depth DESC
"""  # noqa: S608 - of constants


def unused_id(database: sqlite3.Connection) -> str:
    """Return an id that no chat has."""
    query = "SELECT 1 FROM chats WHERE id = ?"
    while True:
        chat_id = secrets.token_hex(ID_BYTES)
        if database.execute(query, (chat_id,)).fetchone() is None:
            return chat_id


def remove_chats(database: sqlite3.Connection, chat_ids: Sequence[str]) -> None:
    """Delete chats with their messages."""
    for chat_id in chat_ids:
        read_chat(database, chat_id)
        database.execute("DELETE FROM messages WHERE chat = ?", (chat_id,))
        database.execute("DELETE FROM chats WHERE id = ?", (chat_id,))
    drop_deleted(database)
    count_change(database)


def read_chat(database: sqlite3.Connection, chat_id: str) -> ChatSummary:
    """Return a chat.

    Raises:
        ConversationNotFoundError: there is no such chat, here and in every function.
    """
    query = f"SELECT {CHAT_COLUMNS} FROM chats WHERE id = ?"  # noqa: S608 - of constants
    row = database.execute(query, (storable(chat_id),)).fetchone()
    if row is None:
        raise ConversationNotFoundError(f"there is no chat {chat_id}", hint="localrun chats list")
    return _summary(row)


def _summary(row: tuple[Any, ...]) -> ChatSummary:
    return ChatSummary(**dict(zip(CHAT_COLUMNS.split(", "), row, strict=True)))


def _message(row: tuple[Any, ...]) -> KeptMessage:
    fields = dict(zip((*MESSAGE_COLUMNS.split(", "), "num_images"), row, strict=True))
    for name in ("tool_calls", "attachments"):
        fields[name] = tuple(json.loads(fields[name]))
    return KeptMessage(**fields)


def insert_message(
    database: sqlite3.Connection, chat_id: str, message: KeptMessage, images: Sequence[bytes] = ()
) -> int:
    """Insert a message with its images; return its id."""
    values = [getattr(message, name) for name in MESSAGE_COLUMNS.split(", ") if name != "id"]
    texts = [to_text(value) if isinstance(value, tuple) else value for value in values]
    columns = MESSAGE_COLUMNS.replace(" id,", "")
    marks = ", ".join("?" * (len(texts) + 1))
    query = f"INSERT INTO messages ({columns}, chat) VALUES ({marks})"  # noqa: S608 - of constants
    message_id = int(database.execute(query, (*texts, chat_id)).lastrowid or 0)
    insert_images(database, chat_id, message_id, images)
    return message_id


def to_text(value: object) -> str:
    """Return a value as the JSON that a column has."""
    return storable(json.dumps(value, ensure_ascii=False))


def check_message(database: sqlite3.Connection, chat_id: str, message_id: int) -> None:
    """Check that a chat has a message.

    Raises:
        UsageError: it has not.
    """
    query = "SELECT 1 FROM messages WHERE id = ? AND chat = ?"
    is_number = 0 < message_id <= LARGEST_ID
    if not is_number or database.execute(query, (message_id, chat_id)).fetchone() is None:
        raise UsageError(f"chat {chat_id} has no message {message_id}")


def count_change(database: sqlite3.Connection) -> None:
    """Count a change of the database."""
    database.execute("UPDATE changes SET revision = revision + 1")


def read_path(database: sqlite3.Connection, chat_id: str) -> list[KeptMessage]:
    """Return the messages from the beginning of a chat to its head."""
    head = read_chat(database, chat_id).head
    return [_message(row) for row in database.execute(PATH, (head, chat_id))]


def read_messages(database: sqlite3.Connection, chat_id: str) -> list[KeptMessage]:
    """Return the messages of all branches of a chat, oldest first."""
    read_chat(database, chat_id)
    query = f"SELECT {SHOWN_COLUMNS} FROM messages WHERE chat = ? ORDER BY id LIMIT {MAX_PATH}"  # noqa: S608 - of constants
    return [_message(row) for row in database.execute(query, (chat_id,))]


def read_settings(database: sqlite3.Connection, chat_id: str) -> dict[str, Any]:
    """Return the settings of a chat."""
    read_chat(database, chat_id)
    query = "SELECT settings FROM chats WHERE id = ?"
    settings: dict[str, Any] = json.loads(database.execute(query, (chat_id,)).fetchone()[0])
    return settings


def list_chats(database: sqlite3.Connection, limit: int, before: str | None) -> list[ChatSummary]:
    """Return a page of chats, the last changed first."""
    where, values = "", list[Any]()
    if before is not None:
        last = read_chat(database, before)
        where, values = "WHERE (updated_s, id) < (?, ?)", [last.updated_s, last.id]
    query = f"SELECT {CHAT_COLUMNS} FROM chats {where} ORDER BY updated_s DESC, id DESC LIMIT ?"  # noqa: S608 - of constants
    return [_summary(row) for row in database.execute(query, [*values, limit])]


def find_chat(database: sqlite3.Connection, prefix: str) -> ChatSummary:
    """Return the only chat whose id begins so.

    Raises:
        UsageError: several ids begin so.
    """
    start = storable(prefix).lower()
    query = f"SELECT {CHAT_COLUMNS} FROM chats WHERE id >= ? AND id < ? LIMIT 2"  # noqa: S608 - of constants
    rows = database.execute(query, (start, start + "g")).fetchall() if start else []
    if not rows:
        raise ConversationNotFoundError(f"there is no chat {prefix}", hint="localrun chats list")
    if len(rows) > 1:
        raise UsageError(f"several chats begin with {prefix}", hint="localrun chats list")
    return _summary(rows[0])


def search_chats(
    database: sqlite3.Connection, text: str, limit: int, longest_s: float
) -> list[SearchHit]:
    """Return messages with all words of a text, the newest first."""
    return [
        SearchHit(chat=read_chat(database, chat_id), message_id=message_id, role=role, excerpt=line)
        for message_id, chat_id, role, line in find_messages(database, text, limit, longest_s)
    ]


def read_revision(database: sqlite3.Connection) -> int:
    """Return the number of changes."""
    return int(database.execute("SELECT revision FROM changes").fetchone()[0])
