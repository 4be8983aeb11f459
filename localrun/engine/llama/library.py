"""llama.cpp as a library: start it, and hear its log.

The only module that touches process-wide state of llama.cpp. `start` is called
once, before anything else of this package, in the process that loads a model.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.llama.ggml import load_backends

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)
_attached: list[object] = []  # the callback that llama.cpp has; ctypes keeps no reference to it

KEPT_LINES = 20
LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
CONTINUES = 5  # GGML_LOG_LEVEL_CONT: goes on with the line before


class NativeLog:
    """llama.cpp's log: passed on to ours as debug lines, its last complaints kept for errors.

    ``on_line`` hears every line too: quantizing reports its progress in no other way.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._on_line = on_line
        self._complaints: deque[str] = deque(maxlen=KEPT_LINES)
        self._level = logging.DEBUG
        self._callback = api.llama_log_callback(self._hear)

    def attach(self) -> None:
        """Let llama.cpp log here instead of to stderr."""
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))
        _attached[:] = [self._callback]

    def last_complaint(self) -> str | None:
        """Return the newest warning or error line."""
        return self._complaints[-1] if self._complaints else None

    def _hear(self, level: int, text: bytes, _data: object) -> None:
        if level != CONTINUES:
            self._level = LEVELS.get(level, logging.DEBUG)
        line = text.decode(errors="replace").strip()
        if not line or line == ".":
            return
        if self._level >= logging.WARNING:
            self._complaints.append(line)
        _log.debug("%s", line)
        if self._on_line is not None:
            self._on_line(line)


def start(on_line: Callable[[str], None] | None = None) -> NativeLog:
    """Make llama.cpp ready, and return its log.

    Raises:
        BackendError: it has no backend to compute with.
    """
    native_log = NativeLog(on_line)
    native_log.attach()
    load_backends()
    llama_cpp.llama_backend_init()
    return native_log


def build() -> tuple[object, ...]:
    """Return what tells this build of llama.cpp from others."""
    folder = Path(api._lib._name).parent  # noqa: SLF001 - the handle has no public name
    sizes = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    return (llama_cpp.__version__, *sizes)
