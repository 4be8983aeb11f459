"""Process-wide state of llama.cpp: backends, initialization, log callback.

No other module changes it. `start` is called once, before anything else of this package, in the
process that loads a model.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.backends.loading import load_backends
from localrun.engine.llama.memory.scratch_memory import align_scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_log = logging.getLogger(__name__)
_attached: list[object] = []  # the callback set in llama.cpp; ctypes keeps no reference to it

MAX_WARNINGS = 20
LOADING = "error loading model: "  # what llama.cpp's own text of a failed load begins with
LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
CONTINUES = 5  # GGML_LOG_LEVEL_CONT: continues the previous line


class NativeLog:
    """llama.cpp's log: forwarded to logging as debug lines; complaints are kept for errors.

    ``on_line`` receives every line too: llama.cpp reports progress of quantizing and memory use
    in no other way. llama.cpp calls the callback on its own threads as well.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._on_line = on_line
        self._warnings: deque[str] = deque(maxlen=MAX_WARNINGS)
        self._first_error: str | None = None
        self._level = logging.DEBUG
        self._callback = api.llama_log_callback(self._receive)

    def attach(self) -> None:
        """Redirect llama.cpp's log from stderr to this object."""
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))
        _attached[:] = [self._callback]

    def attach_to(self, set_log: Callable[[object, object], None]) -> None:
        """Redirect the log of another library of llama.cpp, given its function for that."""
        set_log(self._callback, ctypes.c_void_p(0))

    def last_complaint(self) -> str | None:
        """Return the newest warning or error line."""
        return self._warnings[-1] if self._warnings else None

    def begin(self) -> None:
        """Forget all complaints, before a call whose failure `reason` is to explain."""
        self._warnings.clear()
        self._first_error = None

    def reason(self) -> str:
        """Return why the call since `begin` failed: the first error line, or the last warning."""
        line = self._first_error or self.last_complaint()
        if line is None:
            return "llama.cpp gives no reason"
        return line.rpartition(LOADING)[2]

    def _receive(self, level: int, text: bytes, _data: object) -> None:
        if level != CONTINUES:
            self._level = LEVELS.get(level, logging.DEBUG)
        line = text.decode(errors="replace").strip()
        if not line or line == ".":
            return
        if self._level >= logging.WARNING:
            self._warnings.append(line)
        if self._level >= logging.ERROR and self._first_error is None:
            self._first_error = line
        _log.debug("%s", line)
        if self._on_line is not None:
            self._on_line(line)


def start(
    on_line: Callable[[str], None] | None = None, *, backends: Collection[str] | None = None
) -> NativeLog:
    """Initialize llama.cpp, and return its log.

    ``backends`` are those for GPUs that are loaded; None loads all, an empty collection none.

    Raises:
        BackendError: llama.cpp has no backend to compute with.
    """
    native_log = NativeLog(on_line)
    native_log.attach()
    load_backends(native_log, backends)
    align_scratch()
    initialize()
    return native_log


def initialize() -> None:
    """Initialize llama.cpp; its backends must be loaded, or it would search for them elsewhere."""
    llama_cpp.llama_backend_init()


def build() -> tuple[object, ...]:
    """Return values that identify this build of llama.cpp."""
    folder = Path(api._lib._name).parent  # noqa: SLF001 - the handle has no public name
    sizes = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    return (llama_cpp.__version__, *sizes)
