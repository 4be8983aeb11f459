"""Search in kept chats: queries of users, which never are syntax of the index.

Texts of three characters and more are found through the index of trigrams. Shorter ones, such as
most words of Chinese, are sought in the newest messages, for a bounded number of steps.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIGRAM = 3
MAX_QUERY = 1000  # characters
MAX_STEPS = 400_000_000  # of SQLite's virtual machine: some seconds
STEPS_A_CALL = 1_000_000
AROUND = 60  # characters of an excerpt on each side

Hit = tuple[int, str, str, str]  # message id, chat id, role, content


def find_messages(database: sqlite3.Connection, text: str, limit: int) -> Iterator[Hit]:
    """Yield messages that contain all words of a text, the newest first.

    Raises:
        UsageError: the text is empty or too long, or the search takes too long.
    """
    words = text.split()
    if not words or len(text) > MAX_QUERY:
        raise UsageError(
            f"a search needs 1 to {MAX_QUERY} characters", hint='localrun chats search "a word"'
        )
    _limit_steps(database)
    try:
        yield from database.execute(*_query(words, limit))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise UsageError("the search takes too long", hint="search for a longer word") from error


def excerpt(content: str, text: str) -> str:
    """Return one line of a content, around the first word of the text."""
    word = text.split(maxsplit=1)[0].lower()
    at = max(0, content.lower().find(word))
    start, end = max(0, at - AROUND), at + len(word) + AROUND
    line = " ".join(content[start:end].split())
    return ("…" if start else "") + line + ("…" if end < len(content) else "")


def _query(words: list[str], limit: int) -> tuple[str, list[object]]:
    long = [word for word in words if len(word) >= TRIGRAM]
    conditions: list[str] = []
    values: list[object] = []
    if long:
        conditions.append("id IN (SELECT rowid FROM texts WHERE texts MATCH ?)")
        values.append(" AND ".join('"' + word.replace('"', '""') + '"' for word in long))
    for word in words:
        if len(word) < TRIGRAM:
            conditions.append("content LIKE ? ESCAPE '\\'")
            values.append(f"%{_escaped(word)}%")
    where = " AND ".join(conditions)
    columns = "SELECT id, chat, role, content FROM messages"
    return f"{columns} WHERE {where} ORDER BY id DESC LIMIT ?", [*values, limit]


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _limit_steps(database: sqlite3.Connection) -> None:
    calls = iter(range(MAX_STEPS // STEPS_A_CALL))
    database.set_progress_handler(lambda: next(calls, None) is None, STEPS_A_CALL)
