"""Saved prompts: the KV cache of computed prompts on disk, so that a chat resumes after a restart.

    <root>/key                     32 random bytes that authenticate our files
    <root>/key.tmp-<pid>           being written
    <root>/<model>/<hex>.prompt    a token segment and its computed data: see prompt_file.py
    <root>/<model>/<hex>.tmp-<pid> being written

``<model>`` identifies everything that the data depends on besides the tokens. The files of all
models share one budget: the least recently used file is deleted first. Any process may delete any
file at any time; the others notice when they read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import threading
import time
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localrun.disk import TEMPORARY, is_abandoned, temporary_beside
from localrun.prefixes import border_behind, common_prefix_length
from localrun.private import make_private_folder
from localrun.store.prompt_file import (
    Signer,
    hash_of,
    packed,
    read_data,
    read_head,
    size_of,
    write_segment,
)
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.store.prompt_file import PromptSegment

# Segments begin at multiples of it, so that equal prefixes are stored once, or behind the medium
# that is there.
SEGMENT_TOKENS = 256
MAX_FILES = 4096  # their headers are read when a model loads
KEY_BYTES = 32
DEFAULT_BYTES = 4_000_000_000
FREE_SHARE = 0.05  # of the free disk space, if that is less
STALE_S = 3600.0  # an older temporary file is abandoned, even if its process id is in use
ENDING = ".prompt"
_log = logging.getLogger(__name__)


class PromptFolder:
    """Saved prompts of one model. Safe to use from many threads."""

    def __init__(self, root: Path, model: str, budget_bytes: int | None = None) -> None:
        """Open or create the folder, and read the headers of its files.

        ``budget_bytes`` limits the files of all models; None selects a default.

        Raises:
            OSError: the folder cannot be used.
        """
        self._root, self._folder = root, root / model
        make_private_folder(self._folder, own=root)
        self._signer = Signer(key=_secret(root / "key"), scope=model)
        self.budget_bytes = _default_budget(root) if budget_bytes is None else budget_bytes
        self._lock = threading.Lock()  # guards _segments; no other lock is taken inside
        self._segments: dict[
            bytes, dict[Path, PromptSegment]
        ] = {}  # by the hash of what comes before
        for file in _by_age(self._folder)[-MAX_FILES:]:
            if file.path.suffix == ENDING:
                self._add_file(file.path)

    def find(self, tokens: Sequence[int], start: int) -> list[PromptSegment]:
        """Return consecutive segments along ``tokens``, from ``start`` or shortly before it.

        The last segment may continue with other tokens.
        """
        segments: list[PromptSegment] = []
        bounds = segment_bounds(tokens, start)
        prefix = hashlib.sha256(packed(tokens[: bounds[0]]))
        for position, end in pairwise(bounds):
            expected = list(tokens[position:end])
            segment = max(
                self._after(prefix.digest()),
                key=lambda segment: common_prefix_length(segment.tokens, expected),
                default=None,
            )
            if segment is None or not common_prefix_length(segment.tokens, expected):
                break
            segments.append(segment)
            if segment.tokens != expected:
                break
            prefix.update(packed(expected))
        return segments

    def find_whole(self, tokens: Sequence[int]) -> list[PromptSegment]:
        """Return the longest segment from position 0 that is a prefix of ``tokens``, if any."""
        fitting = [
            segment
            for segment in self._after(hash_of([]))
            if segment.tokens == tokens[: len(segment.tokens)]
        ]
        return sorted(fitting, key=lambda segment: len(segment.tokens))[-1:]

    def read(self, segment: PromptSegment) -> bytes | None:
        """Return the verified data, or None if the file is gone or damaged.

        A damaged file is deleted.
        """
        data = None
        with contextlib.suppress(OSError):  # another process made room
            data = read_data(segment)
        if data is None:
            self._remove(segment)
        else:
            self.touch(segment)
        return data

    def write(self, tokens: Sequence[int], start: int, data: bytes) -> None:
        """Save the data of ``tokens[start:]``; replaces segments that it extends.

        Saves nothing if the budget has no room.
        """
        try:
            size = size_of(len(tokens) - start, len(data))
            if size > self.budget_bytes or not self._make_room(size):
                return
            segment = write_segment(self._folder, self._signer, tokens, start, data)
        except OSError as error:
            _log.warning("cannot save a prompt: %s", error)
            return
        for old in self._after(segment.prefix):
            if (
                len(old.tokens) < len(segment.tokens)
                and old.tokens == segment.tokens[: len(old.tokens)]
            ):
                self._remove(old)
        with self._lock:
            self._segments.setdefault(segment.prefix, {})[segment.path] = segment

    def fingerprint(self, content: bytes) -> int:
        """Return a number below 2^61 that stands for a content in the files of this machine.

        Without the machine's key nobody can find another content with the same number.
        """
        return int.from_bytes(self._signer.sign(content)[:8]) >> 3

    def touch(self, segment: PromptSegment) -> None:
        """Mark the segment as used now."""
        with contextlib.suppress(OSError):
            os.utime(segment.path)

    def _after(self, prefix: bytes) -> list[PromptSegment]:
        with self._lock:
            return list(self._segments.get(prefix, {}).values())

    def _add_file(self, path: Path) -> None:
        """Read a file's header; delete a damaged or foreign file."""
        try:
            segment = read_head(path, self._signer)
        except OSError:
            return
        if segment is not None:
            self._segments.setdefault(segment.prefix, {})[path] = segment
        else:
            _log.warning("deleted %s: damaged, or written by another program", path)
            path.unlink(missing_ok=True)

    def _remove(self, segment: PromptSegment) -> None:
        with contextlib.suppress(OSError):
            segment.path.unlink()
        with self._lock:
            self._segments.get(segment.prefix, {}).pop(segment.path, None)

    def _make_room(self, num_bytes: int) -> bool:
        """Delete the least recently used files as needed; return whether the bytes fit."""
        files = _by_age(self._root)  # includes files of other processes
        missing = sum(file.size_bytes for file in files) + num_bytes - self.budget_bytes
        for file in files:
            if missing <= 0:
                break
            with contextlib.suppress(OSError):
                file.path.unlink()
                missing -= file.size_bytes
                self._forget(file.path)
        return missing <= 0

    def _forget(self, path: Path) -> None:
        with self._lock:
            for segments in self._segments.values():
                segments.pop(path, None)


def segment_bounds(tokens: Sequence[int], start: int) -> list[int]:
    """Return the borders of the segments of ``tokens``, from the one before ``start`` to the end.

    An image or a sound belongs to one segment, which may thus be longer than others.
    """
    inner = (
        border_behind(tokens, end) for end in range(SEGMENT_TOKENS, len(tokens), SEGMENT_TOKENS)
    )
    bounds = sorted({0, *inner, len(tokens)})
    return bounds[bisect_right(bounds, start) - 1 :]


class _File(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


def saved_bytes(root: Path) -> int:
    """Return the size of all saved prompts below a folder."""
    return sum(file.size_bytes for file in _by_age(root))


def remove_saved(root: Path) -> int:
    """Delete all saved prompts below a folder, and return their size.

    A process that uses them continues without. Files that a living process is writing stay.
    """
    freed = 0
    for file in _by_age(root):
        if TEMPORARY in file.path.name:
            continue
        with contextlib.suppress(OSError):
            file.path.unlink()
            freed += file.size_bytes
    return freed


def _by_age(folder: Path) -> list[_File]:
    """Return the files of saved prompts below a folder, least recently used first.

    Deletes the temporary files of dead processes.
    """
    files = []
    newest = time.time() - STALE_S
    for parent, _, names in os.walk(folder):
        for name in names:
            is_open = TEMPORARY in name
            if not is_open and not name.endswith(ENDING):
                continue
            path = Path(parent, name)
            with contextlib.suppress(OSError):
                status = path.stat()
                if is_open and (status.st_mtime < newest or is_abandoned(path)):
                    path.unlink()
                else:
                    files.append(_File(status.st_mtime, status.st_size, path))
    return sorted(files)


def _secret(path: Path) -> bytes:
    """Return the key of this machine, which the first process creates."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_bytes(KEY_BYTES))
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path.read_bytes()


def _default_budget(root: Path) -> int:
    room = shutil.disk_usage(root).free + saved_bytes(root)
    return min(DEFAULT_BYTES, int(FREE_SHARE * room))
