"""Locks of open files, as they are here, and as on Windows on a fake of its functions."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from localrun.system import locks
from localrun.system.locks import lock, unlock

if TYPE_CHECKING:
    from pathlib import Path

LOCK_VIOLATION, NOT_SUPPORTED, INVALID_HANDLE = 33, 50, 6


def test_a_lock_is_exclusive_and_ends_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as first, path.open() as second:
        lock(first.fileno())
        with pytest.raises(BlockingIOError):
            lock(second.fileno(), wait=False)
        with pytest.raises(BlockingIOError):
            lock(second.fileno(), shared=True, wait=False)
        first.close()
        lock(second.fileno(), wait=False)


def test_shared_locks_go_together_and_a_locked_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("text")
    with path.open() as first, path.open() as second, path.open() as third:
        lock(first.fileno(), shared=True)
        lock(second.fileno(), shared=True, wait=False)
        with pytest.raises(BlockingIOError):
            lock(third.fileno(), wait=False)
        assert third.read() == "text"
        unlock(first.fileno())
        unlock(first.fileno())  # it has none any more


class FakeKernel:
    """LockFileEx and UnlockFileEx, which record their numbers and may fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.error = 0

    def __getattr__(self, name: str) -> Any:
        def call(_handle: object, *numbers: Any) -> int:
            place = numbers[-1]._obj
            values = [number.value for number in numbers[:-1]]
            self.calls.append((name, [*values, place.offset, place.offset_high]))
            return 0 if self.error else 1

        return call


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Return what the module that `windows` loads calls."""
    fake, runtime = FakeKernel(), ModuleType("msvcrt")
    runtime.get_osfhandle = lambda descriptor: descriptor  # type: ignore[attr-defined] # a fake
    monkeypatch.setitem(sys.modules, "msvcrt", runtime)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: fake, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: fake.error, raising=False)
    monkeypatch.setattr(ctypes, "WinError", lambda code: OSError(code, "other"), raising=False)
    return fake


@pytest.fixture
def windows(kernel: FakeKernel) -> Any:
    """Return the module as Windows loads it."""
    assert kernel.calls == []
    spec = importlib.util.spec_from_file_location("locks_of_windows", locks.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_locks_one_byte_behind_the_end(windows: Any, kernel: FakeKernel) -> None:
    windows.lock(7)
    windows.lock(7, shared=True, wait=False)
    windows.unlock(7)

    far = [0, 0x40000000]
    assert kernel.calls == [
        ("LockFileEx", [2, 0, 1, 0, *far]),
        ("LockFileEx", [1, 0, 1, 0, *far]),
        ("UnlockFileEx", [0, 1, 0, *far]),
    ]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (LOCK_VIOLATION, "BlockingIOError"),
        (NOT_SUPPORTED, "NoLocksError"),
        (INVALID_HANDLE, "OSError"),
    ],
)
def test_errors_of_windows_are_those_of_unix(
    windows: Any, kernel: FakeKernel, code: int, error: str
) -> None:
    kernel.error = code

    with pytest.raises(OSError) as caught:  # noqa: PT011 - its class is what is tested
        windows.lock(7, wait=False)

    assert type(caught.value).__name__ == error
