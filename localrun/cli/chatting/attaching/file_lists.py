"""Lists of the text files of a folder or a glob, for the user to confirm before they are read.

Left out: hidden files, folders of version control and of caches, binary files, and links that
lead out of the folder. Invariant: the number of entries looked at, of files, and their bytes are
bounded; the order is that of the names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from localrun.cli.chatting.attaching.documents import MAX_TEXT, file_kind
from localrun.cli.output import counted, human_bytes
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILES, MAX_BYTES = 200, 4 << 20
MAX_ENTRIES, MAX_DEPTH = 20_000, 32
LONGEST_PATTERN = 1000
LEFT_OUT = frozenset(("CVS", "_darcs", "node_modules", "__pycache__"))
WILD = frozenset("*?[")


@dataclass(slots=True)
class FileList:
    """Text files that a folder or glob stands for."""

    files: list[Path] = field(default_factory=list)
    size_bytes: int = 0
    num_left_out: int = 0  # hidden, binary, out of the folder
    is_cut: bool = False  # there are more than the bounds allow

    @property
    def question(self) -> str:
        """Return the question whether to add the files."""
        left_out = f", {self.num_left_out:,} left out" if self.num_left_out else ""
        cut = ", more than that is not added" if self.is_cut else ""
        size = human_bytes(self.size_bytes)
        return f"Add {counted(len(self.files), 'file')} ({size}{left_out}{cut})?"


def is_pattern(text: str) -> bool:
    """Return whether a path has wildcards."""
    return not WILD.isdisjoint(text)


def list_files(path: Path) -> FileList:
    """Return the text files below a folder, or those that match a pattern.

    ``*`` and ``?`` match in one name, ``**`` matches folders.

    Raises:
        NotFoundError: no such folder, or no text file in it.
        UsageError: the pattern is too long.
    """
    folder, pattern = _split(path)
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder")
    found = FileList()
    root = Path(os.path.realpath(folder))
    for entry in _walk(folder, found):
        relative = PurePath(os.path.relpath(entry.path, folder)).parts
        if pattern and not _matches(relative, pattern):
            continue
        _add(entry, root, found)
        if found.is_cut:
            break
    if not found.files:
        raise NotFoundError(f"{path} has no text files")
    return found


def _split(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder before the first wildcard, and the names and patterns from there."""
    if len(str(path)) > LONGEST_PATTERN:
        raise UsageError("the pattern is too long")
    parts = path.parts
    first = next((at for at, part in enumerate(parts) if is_pattern(part)), len(parts))
    if path.exists():  # a name may have brackets
        first = len(parts)
    pattern = parts[first:]
    return Path(*parts[:first]), (*pattern, "*") if pattern[-1:] == ("**",) else pattern


def _walk(folder: Path, found: FileList) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder; folders that are links are not entered."""
    num_entries = 0
    waiting = [(str(folder), 0)]
    while waiting:
        here, depth = waiting.pop()
        folders: list[tuple[str, int]] = []
        for entry in _entries(here):
            num_entries += 1
            if num_entries > MAX_ENTRIES:
                found.is_cut = True
                return
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                found.num_left_out += 1
            elif not entry.is_dir(follow_symlinks=False):
                yield entry
            elif depth < MAX_DEPTH:
                folders.append((entry.path, depth + 1))
        waiting += reversed(folders)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            first = [entry for entry, _ in zip(entries, range(MAX_ENTRIES + 1), strict=False)]
    except OSError:
        return []  # not readable: nothing of it can be added
    return sorted(first, key=lambda entry: entry.name)


def _add(entry: os.DirEntry[str], root: Path, found: FileList) -> None:
    path = Path(entry.path)
    kind = file_kind(path) if _is_inside(path, root) else None
    if kind is None or kind.kind != "text":
        found.num_left_out += 1
        return
    size_bytes = path.stat().st_size
    if size_bytes > MAX_TEXT:
        found.num_left_out += 1
    elif len(found.files) == MAX_FILES or found.size_bytes + size_bytes > MAX_BYTES:
        found.is_cut = True
    else:
        found.files.append(path)
        found.size_bytes += size_bytes


def _is_inside(path: Path, root: Path) -> bool:
    """Return whether a path, with its links followed, is below a folder."""
    return Path(os.path.realpath(path)).is_relative_to(root)


def _matches(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the names of a path match a pattern; ``**`` matches any number of folders."""
    reached = {0}  # numbers of parts of the pattern that match the names so far
    for name in names:
        reached = _skipped(reached, pattern)
        reached = {
            at if pattern[at] == "**" else at + 1
            for at in reached
            if at < len(pattern) and (pattern[at] == "**" or fnmatchcase(name, pattern[at]))
        }
    return len(pattern) in reached


def _skipped(reached: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Add the parts behind each ``**``, which may match no folder."""
    more = set(reached)
    for at in range(len(pattern) - 1):
        if at in more and pattern[at] == "**":
            more.add(at + 1)
    return more
