"""Computed prompts on the disk, so that a chat goes on where it was before a restart.

    <root>/key                     32 random bytes that make files ours
    <root>/key.tmp-<pid>           being written
    <root>/<model>/<hex>.prompt    a run of tokens and what was computed for it: prompt_file.py
    <root>/<model>/<hex>.tmp-<pid> being written

``<model>`` names everything that the data depends on beside the tokens. The files of all
models together stay within a budget: the one that was unused longest makes room. Any
process may delete any of them at any time; others notice when they read.
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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localrun.disk import TEMPORARY, is_abandoned, temporary_beside
from localrun.private import make_private_folder
from localrun.store.prompt_file import (
    Signer,
    hash_of,
    packed,
    read_data,
    read_head,
    size_of,
    write_run,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.store.prompt_file import PromptSegment

RUN_TOKENS = 256  # runs begin at multiples of it, so that equal beginnings are kept once
MOST_FILES = 4096  # their heads are read when a model loads
KEY_BYTES = 32
DEFAULT_BYTES = 4_000_000_000
FREE_SHARE = 0.05  # of what is free on the disk, where that is less
STALE_S = 3600.0  # a temporary file of this age belongs to nobody, whatever runs by its number
ENDING = ".prompt"
_log = logging.getLogger(__name__)


class PromptFolder:
    """The saved prompts of one model; safe from any thread."""

    def __init__(self, root: Path, model: str, budget_bytes: int | None = None) -> None:
        """Open the folder, made if need be, and read the heads of its files.

        ``budget_bytes`` bounds the files of all models; None chooses.

        Raises:
            OSError: it cannot be used.
        """
        self._root, self._folder = root, root / model
        make_private_folder(self._folder, own=root)
        self._seal = Signer(key=_secret(root / "key"), scope=model)
        self.budget_bytes = _default_budget(root) if budget_bytes is None else budget_bytes
        self._lock = threading.Lock()  # guards the runs
        self._runs: dict[bytes, dict[Path, PromptSegment]] = {}  # by the hash of what comes before
        for file in _by_age(self._folder)[-MOST_FILES:]:
            if file.path.suffix == ENDING:
                self._learn(file.path)

    def find(self, tokens: Sequence[int], start: int) -> list[PromptSegment]:
        """Return runs that follow each other from ``start``, or before it, along ``tokens``.

        The last one may go on in another way than ``tokens``.
        """
        found: list[PromptSegment] = []
        place = start // RUN_TOKENS * RUN_TOKENS
        before = hashlib.sha256(packed(tokens[:place]))
        while place < len(tokens):
            rest = tokens[place : place + RUN_TOKENS]
            run = max(
                self._behind(before.digest()),
                key=lambda run: common_tokens(run.tokens, rest),
                default=None,
            )
            if run is None or not common_tokens(run.tokens, rest):
                break
            found.append(run)
            if len(run.tokens) != RUN_TOKENS or run.tokens != rest:
                break
            before.update(packed(rest))
            place += RUN_TOKENS
        return found

    def find_whole(self, tokens: Sequence[int]) -> list[PromptSegment]:
        """Return the longest run from position 0 that ``tokens`` go on from, if there is one."""
        fitting = [
            run for run in self._behind(hash_of([])) if run.tokens == tokens[: len(run.tokens)]
        ]
        return sorted(fitting, key=lambda run: len(run.tokens))[-1:]

    def read(self, run: PromptSegment) -> bytes | None:
        """Return the verified data; None when it is gone or not what was written.

        Such a file is removed.
        """
        data = None
        with contextlib.suppress(OSError):  # another process made room
            data = read_data(run)
        if data is None:
            self._remove(run)
        else:
            self.touch(run)
        return data

    def write(self, tokens: Sequence[int], start: int, data: bytes) -> None:
        """Keep the data of ``tokens[start:]``, in place of what it goes on from.

        Nothing is kept where there is no room.
        """
        try:
            size = size_of(len(tokens) - start, len(data))
            if size > self.budget_bytes or not self._make_room(size):
                return
            run = write_run(self._folder, self._seal, tokens, start, data)
        except OSError as error:
            _log.warning("a prompt is not saved: %s", error)
            return
        for old in self._behind(run.prefix):
            if len(old.tokens) < len(run.tokens) and old.tokens == run.tokens[: len(old.tokens)]:
                self._remove(old)
        with self._lock:
            self._runs.setdefault(run.prefix, {})[run.path] = run

    def touch(self, run: PromptSegment) -> None:
        """Count the run as used now."""
        with contextlib.suppress(OSError):
            os.utime(run.path)

    def _behind(self, prefix: bytes) -> list[PromptSegment]:
        with self._lock:
            return list(self._runs.get(prefix, {}).values())

    def _learn(self, path: Path) -> None:
        """Read a file's head; one that is not ours is removed."""
        try:
            run = read_head(path, self._seal)
        except OSError:
            return
        if run is not None:
            self._runs.setdefault(run.prefix, {})[path] = run
        else:
            _log.warning("%s is damaged or not ours: removed", path)
            path.unlink(missing_ok=True)

    def _remove(self, run: PromptSegment) -> None:
        with contextlib.suppress(OSError):
            run.path.unlink()
        with self._lock:
            self._runs.get(run.prefix, {}).pop(run.path, None)

    def _make_room(self, num_bytes: int) -> bool:
        """Delete the files that were unused longest, as far as needed; False: it cannot fit."""
        files = _by_age(self._root)  # also of what other processes wrote
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
            for runs in self._runs.values():
                runs.pop(path, None)


class _File(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


def saved_bytes(root: Path) -> int:
    """Return the bytes of all saved prompts under a folder."""
    return sum(file.size_bytes for file in _by_age(root))


def remove_saved(root: Path) -> int:
    """Delete all saved prompts under a folder; return their bytes.

    A process that uses them goes on without. What a living process is writing stays.
    """
    freed = 0
    for file in _by_age(root):
        if TEMPORARY in file.path.name:
            continue
        with contextlib.suppress(OSError):
            file.path.unlink()
            freed += file.size_bytes
    return freed


def common_tokens(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two short runs begin with in common."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _by_age(folder: Path) -> list[_File]:
    """Return the files of saved prompts below a folder, the longest unused first.

    What a process that died was writing is deleted.
    """
    found = []
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
                    found.append(_File(status.st_mtime, status.st_size, path))
    return sorted(found)


def _secret(path: Path) -> bytes:
    """Return the key of this machine, which the first process makes."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_bytes(KEY_BYTES))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path.read_bytes()


def _default_budget(root: Path) -> int:
    room = shutil.disk_usage(root).free + saved_bytes(root)
    return min(DEFAULT_BYTES, int(FREE_SHARE * room))
