"""Locks of open files between processes: flock on Unix, LockFileEx on Windows.

A lock belongs to the open file, and ends with it however its process ends. It is advisory: on
Windows, where a locked range cannot be read by others, one byte far behind the end is locked.
"""

from __future__ import annotations

import errno
import sys

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


class NoLocksError(OSError):
    """The file system does not support locks."""


if sys.platform == "win32":
    import contextlib
    import ctypes
    import msvcrt

    EXCLUSIVE, AT_ONCE = 2, 1  # LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY
    IS_LOCKED, NOT_LOCKED, NO_FUNCTION, NOT_SUPPORTED = 33, 158, 1, 50  # of GetLastError
    FAR = 0x40000000  # the upper half of the offset of the locked byte

    class _Overlapped(ctypes.Structure):
        """``OVERLAPPED``: the offset of a range."""

        _fields_ = (
            ("internal", ctypes.c_size_t),
            ("internal_high", ctypes.c_size_t),
            ("offset", ctypes.c_uint32),
            ("offset_high", ctypes.c_uint32),
            ("event", ctypes.c_void_p),
        )

    def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> None:
        """Lock an open file; without ``shared``, for this process alone.

        Raises:
            BlockingIOError: another process has locked it, and ``wait`` is false.
            NoLocksError: the file system has no locks.
        """
        flags = (0 if shared else EXCLUSIVE) | (0 if wait else AT_ONCE)
        _call("LockFileEx", descriptor, flags)

    def unlock(descriptor: int) -> None:
        """Release the lock of an open file, if it has one.

        Raises:
            NoLocksError: the file system has no locks.
        """
        with contextlib.suppress(BlockingIOError):  # what some systems say of a file without
            _call("UnlockFileEx", descriptor)

    def _call(function: str, descriptor: int, *flags: int) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        place = _Overlapped(offset_high=FAR)
        numbers = map(ctypes.c_uint32, (*flags, 0, 1, 0))  # reserved, and the length of the range
        if getattr(kernel, function)(handle, *numbers, ctypes.byref(place)):
            return
        code = ctypes.get_last_error()
        if code in {NO_FUNCTION, NOT_SUPPORTED}:
            raise NoLocksError(errno.ENOSYS, "no locks")
        if code == IS_LOCKED:
            raise BlockingIOError(errno.EAGAIN, "another process has locked it")
        if code != NOT_LOCKED:
            raise ctypes.WinError(code)

else:
    import fcntl

    def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> None:
        """Lock an open file; without ``shared``, for this process alone.

        Raises:
            BlockingIOError: another process has locked it, and ``wait`` is false.
            NoLocksError: the file system has no locks.
        """
        _call(
            descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (not wait and fcntl.LOCK_NB)
        )

    def unlock(descriptor: int) -> None:
        """Release the lock of an open file, if it has one.

        Raises:
            NoLocksError: the file system has no locks.
        """
        _call(descriptor, fcntl.LOCK_UN)

    def _call(descriptor: int, kind: int) -> None:
        try:
            fcntl.flock(descriptor, kind)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise NoLocksError(error.errno, error.strerror) from error
            raise
