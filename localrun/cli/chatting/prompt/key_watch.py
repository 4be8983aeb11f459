"""Watch of the keyboard while an answer is printed, in a thread of its own.

Ctrl-C reaches the main thread as the signal of the terminal, Esc as the same signal from the thread
that reads the keys. What is typed otherwise is kept. Invariant: after `KeyWatch.stop`, no
thread reads the terminal. Callers hold interrupts while they call it (`Interrupts.held`).
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.typed_keys import KeyAct
from localrun.system.processes import interrupt_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.cli.chatting.prompt.typed_keys import TypedKeys

ESCAPE_TIMEOUT_S = 0.06  # after which an Esc is a key; a sequence arrives at once, also over ssh
READ_BYTES = 65536


class KeyWatch:
    """The thread that sorts what is typed on a terminal, and acts on it."""

    def __init__(self, descriptor: int, keys: TypedKeys, on_fold: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._keys = keys
        self._on_fold = on_fold
        self._pipe: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._pipe = os.pipe()
        self._thread = threading.Thread(target=self._run, args=self._pipe[:1], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; blocks until it has ended."""
        if self._pipe is None or self._thread is None:
            return
        (end, ender), thread = self._pipe, self._thread
        self._pipe = self._thread = None
        os.close(ender)  # which the thread sees
        thread.join()
        os.close(end)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the keys to another reader for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _run(self, end: int) -> None:
        while content := self._read(end):
            self._act(self._keys.feed(content))
            while self._keys.awaits_more():
                if select.select([self._descriptor, end], [], [], ESCAPE_TIMEOUT_S)[0]:
                    break
                self._act(self._keys.lone_escape())

    def _read(self, end: int) -> bytes:
        """Return the next bytes, none if the watch or the terminal has ended."""
        ready, _, _ = select.select([self._descriptor, end], [], [])
        if end in ready:
            return b""
        try:
            return os.read(self._descriptor, READ_BYTES)
        except OSError:  # the terminal was closed
            return b""

    def _act(self, acts: list[KeyAct]) -> None:
        for act in acts:
            if act is KeyAct.FOLD:
                self._on_fold()
            else:
                interrupt_main_thread()
