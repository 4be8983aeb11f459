"""Search in kept chats: queries of users, which never are syntax of the index.

Texts of three characters and more are found through the index of trigrams. Shorter ones, such as
most words of Chinese, are sought in the messages themselves, the newest first, for a bounded time.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from localrun.conversations.message import storable
from localrun.conversations.schema import has_index
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIGRAM = 3
MAX_QUERY = 1000  # characters
SEARCH_S = 5.0
STEPS_A_CALL = 1000  # of SQLite's virtual machine: some hundred messages
AROUND = 60  # characters of an excerpt on each side

Hit = tuple[int, str, str, str]  # message id, chat id, role, excerpt


def find_messages(
    database: sqlite3.Connection, text: str, limit: int, longest_s: float = SEARCH_S
) -> list[Hit]:
    """Return messages that contain all words of a text, the newest first.

    Raises:
        UsageError: the text is empty or too long, or the search takes too long.
    """
    words = storable(text).replace("\0", " ").split()
    if not words or len(text) > MAX_QUERY:
        raise UsageError(
            f"a search needs 1 to {MAX_QUERY} characters", hint='localrun chats search "a word"'
        )
    deadline_s = time.monotonic() + longest_s
    database.set_progress_handler(lambda: time.monotonic() > deadline_s, STEPS_A_CALL)
    try:
        return list(_hits(database, words, limit))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise UsageError("the search takes too long", hint="search for a longer word") from error
    finally:
        database.set_progress_handler(None, 0)


def excerpt(content: str, word: str) -> str:
    """Return one line of a content, around the first occurrence of a word."""
    at = max(0, content.lower().find(word.lower()))
    start, end = max(0, at - AROUND), at + len(word) + AROUND
    line = " ".join(content[start:end].split())
    return ("…" if start else "") + line + ("…" if end < len(content) else "")


def _hits(database: sqlite3.Connection, words: list[str], limit: int) -> Iterator[Hit]:
    indexed = [word for word in words if len(word) >= TRIGRAM] if has_index(database) else []
    query, values = _query(indexed, [word for word in words if word not in indexed])
    for message_id, chat, role, content in database.execute(query, [*values, limit]):
        yield message_id, chat, role, excerpt(content, words[0])


def _query(indexed: list[str], others: list[str]) -> tuple[str, list[str]]:
    conditions = ["content LIKE ? ESCAPE '\\'" for _ in others]
    values = [f"%{_escaped(word)}%" for word in others]
    if indexed:
        conditions.append("id IN (SELECT rowid FROM texts WHERE texts MATCH ?)")
        values.append(" AND ".join('"' + word.replace('"', '""') + '"' for word in indexed))
    where = " AND ".join(conditions)
    columns = "SELECT id, chat, role, content FROM messages"
    return f"{columns} WHERE {where} ORDER BY id DESC LIMIT ?", values


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
