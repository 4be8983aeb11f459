"""Disks that are full: real short writes without root, and errors of calls that write no bytes.

The kernel makes the short writes: RLIMIT_FSIZE lets a file grow to a number of bytes, takes
the part of a write that fits, and refuses the next one (EFBIG). So nothing between the
program and write(2) is replaced, whatever it writes with, also in its child processes. An
audit hook sees each file that is opened to be written and sets the limit from the n-th on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


WRITING = os.O_WRONLY | os.O_RDWR
CALLS = ("fsync", "fdatasync", "replace", "rename", "mkdir", "link")


@contextlib.contextmanager
def size_limit(num_bytes: int) -> Iterator[None]:
    """Let no file of this process and its children grow past a number of bytes."""
    before = _set_limit(num_bytes)
    try:
        yield
    finally:
        _set_limit(before)


class FullDisk:
    """Counts the files that are opened to be written below a folder, and limits their size."""

    def __init__(self) -> None:
        self._root: str | None = None
        self._num_left = 0
        self._limit_bytes: int | None = None
        self.num_opened = 0
        sys.addaudithook(self._on_event)  # stays until the process ends

    @contextlib.contextmanager
    def below(
        self, root: Path, *, num_good: int = 0, limit_bytes: int | None = None
    ) -> Iterator[None]:
        """Let no file grow past ``limit_bytes`` from the one behind the first ``num_good`` on.

        Without a limit files are only counted.
        """
        before = _set_limit()
        self._num_left, self._limit_bytes, self.num_opened = num_good, limit_bytes, 0
        self._root = os.fspath(root)
        try:
            yield
        finally:
            self._root = None
            _set_limit(before)

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or self._root is None:
            return
        path, _, flags = arguments
        if not isinstance(path, str) or not isinstance(flags, int) or not flags & WRITING:
            return
        if not path.startswith(self._root):
            return
        self.num_opened += 1
        if self._num_left > 0:
            self._num_left -= 1
        elif self._limit_bytes is not None:
            _set_limit(self._limit_bytes)


def _set_limit(num_bytes: int | None = None) -> int:
    """Set the limit if there is one; return the limit before."""
    if sys.platform == "win32":
        pytest.skip("Windows has no limit of the size of files")
    else:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if num_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        return soft


class FailingCalls:
    """Counts calls of ``os`` that may find a disk full, and lets those behind the n-th fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_calls = 0
        self._num_good: int | None = None
        for name in CALLS:
            self._wrap(monkeypatch, name)

    @contextlib.contextmanager
    def behind(self, num_good: int | None) -> Iterator[None]:
        """Let calls behind the first ``num_good`` fail while the block runs; None: only count."""
        self.num_calls, self._num_good = 0, num_good
        try:
            yield
        finally:
            self._num_good = None

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            if name == "mkdir" and os.path.isdir(str(arguments[0])):  # noqa: PTH112 - any path
                return real(*arguments, **options)  # it exists, which needs no room
            self.num_calls += 1
            if self._num_good is not None and self.num_calls > self._num_good:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)
