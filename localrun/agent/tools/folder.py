"""Folder of the tools: opens files below one folder and nothing outside of it.

Each component of a path is opened relative to the folder before it, without following symbolic
links (``openat`` with ``O_NOFOLLOW``): a folder that another process swaps for a link while a tool
runs leads nowhere. Windows has no such call; there the resolved path is checked before it is used.
Symbolic links are listed and not followed. Invariant: only regular files are read, with a bounded
size; a device or a FIFO is never read or written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from localrun.agent.toolbox import ToolError
from localrun.system.files import set_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_FILE = 4 * 1024 * 1024  # bytes
LONGEST_PATH, MAX_PARTS = 4096, 64
HAS_OPENAT = os.name == "posix"
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_BLOCK = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO would wait for its writer
CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
DIRECTORY = getattr(os, "O_DIRECTORY", 0)
BINARY = getattr(os, "O_BINARY", 0)
CONTROL_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj", ".bzr"})


class WorkFolder:
    """The folder below which the tools work; paths are relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def parts(self, path: str) -> tuple[str, ...]:
        """Return the components of a path; () for the folder itself.

        An absolute path below the folder is possible.

        Raises:
            ToolError: the path leaves the folder, or is no path.
        """
        if not path.isprintable() or len(path) > LONGEST_PATH:
            raise ToolError(f"Not a path: {path[:100]!r}")
        text = path.replace("\\", "/") if os.sep == "\\" else path
        if Path(path).is_absolute():
            text = _below(Path(path), self.root).as_posix()
        if ".." in PurePosixPath(text).parts or PurePosixPath(text).is_absolute():
            raise ToolError(f"{path} is outside of the folder; use paths relative to it.")
        parts = tuple(part for part in PurePosixPath(text).parts if part != ".")
        if len(parts) > MAX_PARTS or any(":" in part for part in parts if os.sep == "\\"):
            raise ToolError(f"Not a path: {path[:100]!r}")
        return parts

    def read(self, path: str) -> bytes:
        """Return the bytes of a regular file.

        Raises:
            ToolError: it does not exist, is no regular file, or is too large.
        """
        parts = self.parts(path)
        with self.open_folder(parts[:-1], path) as folder:
            return self.read_in(folder, parts, path)

    def read_in(self, folder: int | None, parts: tuple[str, ...], path: str) -> bytes:
        """Return the bytes of a file in an open folder.

        Raises:
            ToolError: as `read`.
        """
        if not parts:
            raise ToolError(f"{path} is a folder.")
        with _named(path):
            name = self._name(folder, parts)
            _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
            descriptor = self._open(folder, parts, os.O_RDONLY | NO_BLOCK | BINARY)
            try:  # once more: another process may have put something else in its place
                _check_regular(os.fstat(descriptor), path)
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read(LARGEST_FILE + 1)
            finally:
                os.close(descriptor)
        if len(data) > LARGEST_FILE:
            raise ToolError(f"{path} is too large: more than {LARGEST_FILE} bytes.")
        return data

    @contextlib.contextmanager
    def open_folder(self, parts: tuple[str, ...], path: str) -> Iterator[int | None]:
        """Open a folder below the root: a descriptor, None on Windows.

        Raises:
            ToolError: it does not exist, is no folder, or is behind a symbolic link.
        """
        if not HAS_OPENAT:
            self._resolved(parts, path)
            yield None
            return
        flags = os.O_RDONLY | DIRECTORY | CLOSE_ON_EXEC
        with _named(path):
            descriptor = os.open(self.root, flags | NO_FOLLOW)
        try:
            for part in parts:
                with _named(path):
                    below = os.open(part, flags | NO_FOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def names(
        self, folder: int | None, parts: tuple[str, ...]
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Return names and facts of the entries of an open folder; links are not followed."""
        where = self.root.joinpath(*parts) if folder is None else folder
        with os.scandir(where) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # removed meanwhile
                    yield entry.name, entry.stat(follow_symlinks=False)

    def write(self, path: str, data: bytes, *, is_new: bool) -> None:
        """Write a file: all of it or nothing; missing folders are created for a new file.

        Raises:
            ToolError: a new file exists already, an old one does not, or it cannot be written.
        """
        parts = self.parts(path)
        check_editable(parts, path)
        if is_new:
            self._make_folders(parts[:-1], path)
        with self.open_folder(parts[:-1], path) as folder, _named(path):
            mode = self._mode(folder, parts, path, is_new=is_new)
            self._replace(folder, parts, data, mode)

    def remove(self, path: str) -> None:
        """Remove a file.

        Raises:
            ToolError: it cannot be removed.
        """
        parts = self.parts(path)
        check_editable(parts, path)
        with self.open_folder(parts[:-1], path) as folder, _named(path):
            os.unlink(self._name(folder, parts), dir_fd=folder)

    def exists(self, path: str) -> bool:
        """Return whether a path exists, also as a symbolic link.

        Raises:
            ToolError: its folder cannot be opened.
        """
        parts = self.parts(path)
        try:
            with self.open_folder(parts[:-1], path) as folder:
                os.stat(self._name(folder, parts), dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, MissingError):
            return False
        except OSError as error:
            raise ToolError(f"{path}: {error.strerror}.") from error
        return True

    def _name(self, folder: int | None, parts: tuple[str, ...]) -> str:
        """Return the last component, or on Windows the whole path."""
        if folder is None:
            return str(self.root.joinpath(*parts))
        return parts[-1] if parts else "."

    def _open(
        self, folder: int | None, parts: tuple[str, ...], flags: int, mode: int = 0o666
    ) -> int:
        if folder is None:
            self._resolved(parts, "/".join(parts))
        name = self._name(folder, parts)
        return os.open(name, flags | NO_FOLLOW | CLOSE_ON_EXEC, mode, dir_fd=folder)

    def _resolved(self, parts: tuple[str, ...], path: str) -> None:
        target = self.root.joinpath(*parts)
        if target.resolve() != target:
            raise ToolError(f"{path} is behind a link that may lead out of the folder.")

    def _make_folders(self, parts: tuple[str, ...], path: str) -> None:
        for depth in range(1, len(parts) + 1):
            with (
                self.open_folder(parts[: depth - 1], path) as folder,
                _named(path),
                contextlib.suppress(FileExistsError),
            ):
                os.mkdir(self._name(folder, parts[:depth]), dir_fd=folder)

    def _mode(
        self, folder: int | None, parts: tuple[str, ...], path: str, *, is_new: bool
    ) -> int | None:
        """Return the permissions of the file that is replaced, None for a new file."""
        try:
            facts = os.stat(self._name(folder, parts), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            if is_new:
                return None
            raise
        if is_new:
            raise ToolError(f"{path} exists already.")
        _check_regular(facts, path)
        return stat.S_IMODE(facts.st_mode)

    def _replace(
        self, folder: int | None, parts: tuple[str, ...], data: bytes, mode: int | None
    ) -> None:
        temporary = (*parts[:-1], f".localrun-{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
        source = self._name(folder, temporary)
        descriptor = self._open(folder, temporary, flags)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if mode is not None:
                    set_mode(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(source, self._name(folder, parts), src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(source, dir_fd=folder)
            raise


class MissingError(ToolError):
    """The file or folder does not exist."""


def check_editable(parts: tuple[str, ...], path: str) -> None:
    """Refuse the files of version control, whose hooks are executed.

    Raises:
        ToolError: the path is one of them, or the folder itself.
    """
    if not parts:
        raise ToolError(f"{path} is a folder.")
    if any(part.casefold().rstrip(". ") in CONTROL_FOLDERS for part in parts):
        raise ToolError(f"{path} belongs to version control and cannot be edited.")


def _below(path: Path, root: Path) -> Path:
    if not path.is_relative_to(root):
        raise ToolError(f"{path} is outside of the folder {root}; use paths relative to it.")
    return path.relative_to(root)


def _check_regular(facts: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ToolError(f"{path} is a folder.")
    if stat.S_ISLNK(facts.st_mode):
        raise ToolError(f"{path}: a symbolic link, which is not followed.")
    if not stat.S_ISREG(facts.st_mode):
        raise ToolError(f"{path} is not a regular file.")


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Translate failures of the system to errors for the model."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{path} does not exist.") from error
    except NotADirectoryError as error:
        raise ToolError(f"{path}: a part of the path is no folder, or a symbolic link.") from error
    except OSError as error:
        reason = "a symbolic link, which is not followed" if _is_link(error) else error.strerror
        raise ToolError(f"{path}: {reason}.") from error


def _is_link(error: OSError) -> bool:
    return error.errno in {errno.ELOOP, errno.EMLINK}
