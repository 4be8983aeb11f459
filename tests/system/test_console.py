"""The console of Windows, on a fake of its functions."""

from __future__ import annotations

import ctypes
import io
import sys
from typing import TYPE_CHECKING, Any

from localrun.system.console import ESCAPE_CODES, prepare_console

if TYPE_CHECKING:
    import pytest


class FakeKernel:
    """A console for stdout; stderr is a file."""

    def __init__(self) -> None:
        self.modes: dict[int, int] = {-11: 3}

    def GetConsoleMode(self, handle: Any, mode: Any) -> int:  # noqa: N802 - of Windows
        mode._obj.value = self.modes.get(ctypes.c_int(handle.value).value, 0)
        return ctypes.c_int(handle.value).value in self.modes

    def SetConsoleMode(self, handle: Any, mode: int) -> int:  # noqa: N802 - of Windows
        self.modes[ctypes.c_int(handle.value).value] = mode
        return 1

    class GetStdHandle:
        restype: object = None

        def __new__(cls, number: int) -> Any:
            return number & 0xFFFFFFFF


def test_windows_gets_utf_8_and_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, out = FakeKernel(), io.BytesIO()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda _: kernel, raising=False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="cp1252", write_through=True))

    prepare_console()
    sys.stdout.write("\u20ac \u2026 \u2713")

    assert out.getvalue().decode() == "\u20ac \u2026 \u2713"
    assert kernel.modes == {-11: 3 | ESCAPE_CODES}


def test_a_process_without_a_console_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(ctypes, "WinDLL", raising=False)

    prepare_console()
