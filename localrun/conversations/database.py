"""Database file of the chats: private, opened for each operation, set aside if it is damaged.

    chats/
      chats.db                     with chats.db-wal and chats.db-shm while it is in use
      chats.lock                   shared by each operation, exclusive to set a file aside
      chats.db.damaged-1764000000  a file that could not be read, kept for its owner

A connection lives for one operation, so that no process holds a lock between two of them, and any
thread may use a store. Write-ahead logging: who reads waits for nobody, and what a transaction has
committed survives a killed process. Invariants: no file of the folder is readable by others, and
none is deleted; a file is renamed only while nobody has it open, since SQLite finds the log of a
database by its name.

The database is never opened but by SQLite: closing a file releases all locks of this process on
it (fcntl(2)), also those of other threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from localrun.conversations.schema import create_index, drop_index, prepare
from localrun.errors import StorageError
from localrun.private import make_private_folder, open_private, tighten
from localrun.system.locks import NoLocksError, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME, LOCK = "chats.db", "chats.lock"
MEMORY = ":memory:"
BUSY_TIMEOUT_S = 10.0
PRIMARY_CODE = 0xFF  # of an extended result code
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
NUM_MENDS = 2  # the index, then the whole file
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
        self._creation = threading.Lock()

    def read(
        self,
        act: Callable[Concatenate[sqlite3.Connection, Values], Result],
        *args: Values.args,
        **options: Values.kwargs,
    ) -> Result:
        """Return the result of ``act``, which only reads; a database that is not there is empty.

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
        with contextlib.suppress(sqlite3.Error, OSError), self._opened(WRITE) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _run(self, begin: str, act: Callable[[sqlite3.Connection], Result]) -> Result:
        with _translated(self.path):
            for _ in range(NUM_MENDS):
                inode = self._inode()
                try:
                    return self._transact(begin, act)
                except sqlite3.DatabaseError as error:
                    if _code(error) not in DAMAGED:
                        raise
                    self._mend(error, inode)
            return self._transact(begin, act)

    def _transact(self, begin: str, act: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._opened(begin) as database:
            database.execute(begin)
            with database:
                return act(database)

    @contextlib.contextmanager
    def _opened(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Open the database; to read one that is not there, an empty one in memory."""
        if begin == READ and not self.path.exists():
            with _connected(MEMORY) as database:
                yield database
            return
        make_private_folder(self._folder)
        with self._locked(shared=True):
            self._create_private()
            with _connected(os.fspath(self.path)) as database:
                yield database

    def _create_private(self) -> None:
        """Create the file, which SQLite would create with the umask; or make it private."""
        with self._creation:  # another thread must not open the file before it is closed here
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                os.close(open_private(os.fspath(self.path), flags))
            except FileExistsError:
                tighten(self.path)

    @contextlib.contextmanager
    def _locked(self, *, shared: bool) -> Iterator[None]:
        """Hold the lock of the folder, if its file system has locks."""
        descriptor = open_private(os.fspath(self._folder / LOCK), os.O_RDWR | os.O_CREAT)
        try:
            with contextlib.suppress(NoLocksError):
                lock(descriptor, shared=shared)
            yield
        finally:
            os.close(descriptor)

    def _inode(self) -> int:
        """Return a number of the file, 0 if there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def _mend(self, error: sqlite3.DatabaseError, inode: int) -> None:
        """Rebuild a damaged index; set any other damaged file aside."""
        if error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT_VTAB:
            _log.warning("the index of %s is damaged (%s); it is rebuilt", self.path, error)
            with contextlib.suppress(sqlite3.DatabaseError):
                self._transact(WRITE, drop_index)
                self._transact(WRITE, create_index)
                return
        with self._locked(shared=False):
            if self._inode() == inode:  # else another process was quicker
                self._set_aside(error)

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename a damaged file, and those that belong to it."""
        name = f"{NAME}.damaged-{int(time.time())}"
        while self.path.with_name(name).exists():
            name += "-again"
        _log.warning("%s is damaged (%s); it is kept as %s", self.path, error, name)
        for end in (*COMPANIONS, ""):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(NAME + end).rename(self.path.with_name(name + end))


@contextlib.contextmanager
def _connected(path: str) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    with contextlib.closing(database):
        database.execute("PRAGMA secure_delete = ON")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA synchronous = NORMAL")
        prepare(database)
        yield database


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite and of files, but not those of wrong queries."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise _storage_error(path, error) from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE


def _storage_error(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    is_full = isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL
    reason = "the disk is full" if is_full else getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"cannot keep chats in {path}: {reason}",
        hint="LOCALRUN_CHATS=FOLDER keeps them elsewhere, LOCALRUN_NOSAVE=1 keeps none",
    )
