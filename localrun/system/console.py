"""Console of this process on Windows: UTF-8 in files and pipes, escape codes on the screen.

On Unix the locale of the terminal rules, and terminals know escape codes.
"""

from __future__ import annotations

import contextlib
import io
import sys

OUTPUTS = (-11, -12)  # STD_OUTPUT_HANDLE, STD_ERROR_HANDLE
ESCAPE_CODES = 0x4  # ENABLE_VIRTUAL_TERMINAL_PROCESSING


def prepare_console() -> None:
    """Let the standard streams speak UTF-8, and the screen understand escape codes."""
    if sys.platform == "win32":
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8")
        with contextlib.suppress(OSError, AttributeError):  # no console
            _enable_escape_codes()


def _enable_escape_codes() -> None:
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32")
        kernel.GetStdHandle.restype = ctypes.c_void_p
        for number in OUTPUTS:
            handle, mode = ctypes.c_void_p(kernel.GetStdHandle(number)), ctypes.c_uint32()
            if kernel.GetConsoleMode(handle, ctypes.byref(mode)):
                kernel.SetConsoleMode(handle, mode.value | ESCAPE_CODES)
