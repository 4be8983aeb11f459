"""Database file of the chats: private, opened for each operation, set aside if it is damaged.

    chats/
      chats.db                     with chats.db-wal and chats.db-shm while it is in use
      chats.db.damaged-1764000000  a file that could not be read, kept for its owner

A connection lives for one operation, so that no process holds a lock between two of them, and any
thread may use a store. Write-ahead logging: who reads waits for nobody, and what a transaction has
committed survives a killed process. Invariant: no file of the folder is readable by others, and
none is deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from localrun.conversations.schema import prepare
from localrun.errors import StorageError
from localrun.private import make_private_folder, open_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "chats.db"
BUSY_TIMEOUT_S = 10.0
PRIMARY_CODE = 0xFF  # of an extended result code
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
READ = "BEGIN"
WRITE = "BEGIN IMMEDIATE"  # waits for other writers; a reader that turns writer would fail
COMPANIONS = ("-wal", "-shm", "-journal")

_log = logging.getLogger(__name__)
Values = ParamSpec("Values")
Result = TypeVar("Result")


class Database:
    """Database of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / NAME

    def read(
        self,
        act: Callable[Concatenate[sqlite3.Connection, Values], Result],
        *args: Values.args,
        **options: Values.kwargs,
    ) -> Result:
        """Return the result of ``act``, which only reads, on an open database.

        A damaged file is set aside, and a new one takes its place.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
            IntegrityError: a newer localrun wrote the database.
        """
        return self._run(READ, lambda database: act(database, *args, **options))

    def write(
        self,
        act: Callable[Concatenate[sqlite3.Connection, Values], Result],
        *args: Values.args,
        **options: Values.kwargs,
    ) -> Result:
        """Return the result of ``act`` in one transaction, as `read` does.

        Raises:
            StorageError: as `read`.
            IntegrityError: as `read`.
        """
        return self._run(WRITE, lambda database: act(database, *args, **options))

    def wipe(self) -> None:
        """Empty the log, which still has what was deleted; if others read it, they do so later."""
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _run(self, begin: str, act: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return self._transact(begin, act)
        except sqlite3.DatabaseError as error:
            if _code(error) not in DAMAGED:
                raise _storage_error(self.path, error) from error
            self._set_aside(error)
        except OSError as error:
            raise _storage_error(self.path, error) from error
        try:
            return self._transact(begin, act)
        except (sqlite3.Error, OSError) as error:
            raise _storage_error(self.path, error) from error

    def _transact(self, begin: str, act: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._open() as database:
            database.execute(begin)
            with database:
                return act(database)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_private_folder(self._folder)
        os.close(open_private(os.fspath(self.path), os.O_RDWR | os.O_CREAT))
        database = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        with contextlib.closing(database):
            database.execute("PRAGMA secure_delete = ON")
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA synchronous = NORMAL")
            prepare(database)
            yield database

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename a damaged file, and those that belong to it."""
        name = f"{NAME}.damaged-{int(time.time())}"
        _log.warning("%s is damaged (%s); it is kept as %s", self.path, error, name)
        for end in ("", *COMPANIONS):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                self.path.with_name(NAME + end).rename(self.path.with_name(name + end))


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE


def _storage_error(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    is_full = isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL
    reason = "the disk is full" if is_full else getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"cannot keep chats in {path}: {reason}",
        hint="LOCALRUN_CHATS=FOLDER keeps them elsewhere, LOCALRUN_NOSAVE=1 keeps none",
    )
