"""Watch of the keyboard while an answer is printed, in a thread of its own.

Ctrl-C reaches the main thread as the signal of the terminal, Esc as the same signal from the thread
that reads the keys. What is typed otherwise is kept. Invariant: when the context has ended, no
thread reads the terminal, and no interrupt is under way.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.interrupts import one_interrupt
from localrun.cli.chatting.prompt.modes import HAS_KEYS, quiet_keys
from localrun.cli.chatting.prompt.typed_keys import KeyAct, TypedKeys
from localrun.system.processes import interrupt_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ESCAPE_TIMEOUT_S = 0.06  # after which an Esc is a key; a sequence arrives at once, also over ssh
READ_BYTES = 65536


@contextlib.contextmanager
def watched_keys(keys: TypedKeys, on_fold: Callable[[], None]) -> Iterator[None]:
    """Sort what is typed on stdin into ``keys``, and act on it; must run in the main thread."""
    with one_interrupt():
        if not HAS_KEYS:
            yield
            return
        descriptor = sys.stdin.fileno()
        with quiet_keys(descriptor), _Watch(descriptor, keys, on_fold):
            yield


class _Watch:
    """The thread that reads keys."""

    def __init__(self, descriptor: int, keys: TypedKeys, on_fold: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._keys = keys
        self._on_fold = on_fold
        self._end, self._ender = os.pipe()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        os.close(self._ender)  # which the thread sees
        while self._thread.is_alive():
            with contextlib.suppress(KeyboardInterrupt):  # that of an answer that has ended
                self._thread.join()
        os.close(self._end)

    def _run(self) -> None:
        while content := self._read():
            self._act(self._keys.feed(content))
            while self._keys.awaits_more():
                if self._has_key(ESCAPE_TIMEOUT_S):
                    break
                self._act(self._keys.lone_escape())

    def _read(self) -> bytes:
        """Return the next bytes, none if the watch or the terminal has ended."""
        ready, _, _ = select.select([self._descriptor, self._end], [], [])
        if self._end in ready:
            return b""
        try:
            return os.read(self._descriptor, READ_BYTES)
        except OSError:  # the terminal was closed
            return b""

    def _has_key(self, timeout_s: float) -> bool:
        return bool(select.select([self._descriptor, self._end], [], [], timeout_s)[0])

    def _act(self, acts: list[KeyAct]) -> None:
        for act in acts:
            if act is KeyAct.FOLD:
                self._on_fold()
            else:
                interrupt_main_thread()
