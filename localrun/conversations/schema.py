"""Schema of the database of chats, and its version.

    chats(id, title, model, settings, head, created_s, updated_s)
    messages(id, chat, parent, role, content, ..., created_s)     a tree for each chat
    images(message, place, content)                               images of messages
    texts(content)                                                full-text index of messages
    changes(revision)                                             one row: the number of writes

Older programs do not know the images, and leave them alone: the table is added to their databases
without another version.
The index has the trigrams of the content, so that a part of a word is found, also in languages
that write without blanks. An SQLite without trigrams (before 3.34) creates no index: a search then
reads the messages. Deleted content is overwritten (``secure_delete``).
"""

from __future__ import annotations

import sqlite3
import time

from localrun.errors import IntegrityError

VERSION = 1
SHADOWS = ("data", "idx", "docsize", "config")  # tables of the index
WAL_TRIES, WAL_PAUSE_S = 100, 0.05  # the change of the mode does not wait for other processes
TABLES = """
CREATE TABLE chats (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, settings TEXT NOT NULL,
    head INTEGER, created_s REAL NOT NULL, updated_s REAL NOT NULL,
    num_messages INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX chats_by_update ON chats (updated_s DESC, id DESC);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat TEXT NOT NULL REFERENCES chats ON DELETE CASCADE, parent INTEGER,
    role TEXT NOT NULL, content TEXT NOT NULL, thinking TEXT NOT NULL, tool_calls TEXT NOT NULL,
    tool_name TEXT NOT NULL, attachments TEXT NOT NULL, model TEXT NOT NULL, created_s REAL NOT NULL
);
CREATE INDEX messages_by_chat ON messages (chat, parent);
CREATE TRIGGER message_counted AFTER INSERT ON messages BEGIN
    UPDATE chats SET num_messages = num_messages + 1 WHERE id = new.chat;
END;
CREATE TABLE changes (revision INTEGER NOT NULL);
INSERT INTO changes VALUES (0);
"""
IMAGES = """
CREATE TABLE images (
    message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, place INTEGER NOT NULL,
    content BLOB NOT NULL, PRIMARY KEY (message, place)
)
"""
INDEX = """
CREATE VIRTUAL TABLE texts USING fts5 (
    content, content='messages', content_rowid='id', tokenize='trigram'
);
CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    INSERT INTO texts (rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
    INSERT INTO texts (texts, rowid, content) VALUES ('delete', old.id, old.content);
END;
"""


def prepare(database: sqlite3.Connection) -> None:
    """Create the tables of a new database; check the version of another.

    Raises:
        IntegrityError: a newer localrun wrote the database.
        sqlite3.Error: it cannot be read or written.
    """
    version = _version(database)
    if version == VERSION and _has_table(database, "images"):
        return
    if version > VERSION:
        raise IntegrityError(
            f"the kept chats have format {version}, which this localrun does not know",
            hint="localrun upgrade --check   or LOCALRUN_CHATS=FOLDER to keep chats elsewhere",
        )
    _write_ahead(database)
    with database:
        database.execute("BEGIN IMMEDIATE")
        if _version(database) == 0:  # not even by another process just now
            _create(database)
        if not _has_table(database, "images"):
            database.execute(IMAGES)


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; another process may be doing the same."""
    for _ in range(WAL_TRIES):
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # without its extension
                raise
            time.sleep(WAL_PAUSE_S)
        else:
            return
    raise sqlite3.OperationalError("database is locked")


def has_index(database: sqlite3.Connection) -> bool:
    """Return whether the database has a full-text index."""
    return _has_table(database, "texts")


def drop_index(database: sqlite3.Connection) -> None:
    """Drop a damaged full-text index, which SQLite itself refuses to open and to drop.

    Another connection sees the database without an index, and works with it.
    """
    for trigger in ("message_added", "message_removed"):
        database.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    database.execute("PRAGMA writable_schema = ON")
    database.execute("DELETE FROM sqlite_master WHERE name = 'texts'")
    for name in SHADOWS:
        database.execute(f"DROP TABLE IF EXISTS texts_{name}")
    database.execute("PRAGMA writable_schema = OFF")


def create_index(database: sqlite3.Connection) -> None:
    """Create the full-text index of the messages that are there, if this SQLite can."""
    table, *triggers = _statements(INDEX)
    if _is_accepted(database, table):
        for statement in triggers:
            database.execute(statement)
        database.execute("INSERT INTO texts (texts) VALUES ('rebuild')")


def drop_deleted(database: sqlite3.Connection) -> None:
    """Remove from the full-text index what deleted messages left there."""
    if has_index(database):
        database.execute("INSERT INTO texts (texts) VALUES ('optimize')")


def _has_table(database: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return database.execute(query, (name,)).fetchone() is not None


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _create(database: sqlite3.Connection) -> None:
    for statement in _statements(TABLES):
        database.execute(statement)
    create_index(database)
    database.execute(f"PRAGMA user_version = {VERSION}")


def _is_accepted(database: sqlite3.Connection, table: str) -> bool:
    """Create the index; return whether this SQLite has FTS5 and trigrams."""
    try:
        database.execute(table)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # a full disk, for example
            raise
        return False
    return True


def _statements(script: str) -> list[str]:
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements
