"""Giving up the network: a worker needs only its stdin, its stdout and a loopback of its own.

llama.cpp's RPC server listens on a port, and its parser trusts its client. In a network namespace
of its own, no other user of the machine reaches that port, and whoever takes over the process has
no network. Linux alone has that; where user namespaces are forbidden (Ubuntu's AppArmor, many
containers), only root can do it. Ubuntu 24.04 allows the namespace and forbids its loopback, so a
child tries both first: nothing brings a process back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def give_up_network() -> str:
    """Leave the network, and return an empty string, or why that is not possible here.

    Must be called while the process has one thread; threads that start later have no network, too.
    """
    if sys.platform == "linux":
        try:
            _try_in_child()
            _leave_network()
        except OSError as error:
            return f"the system does not allow it: {error.strerror}"
        return ""
    else:  # noqa: RET505 - a branch for each platform
        return "only Linux can take a process's network away"


if sys.platform == "linux":

    def _try_in_child() -> None:
        """Raise the error with which a child fails to leave the network."""
        child = os.fork()
        if child == 0:
            number = errno.EPERM
            try:
                _leave_network()
                number = 0
            except OSError as error:
                number = error.errno or number
            finally:
                os._exit(number)
        number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if number < 0:  # a filter of system calls has killed it
            number = errno.EPERM
        if number:
            raise OSError(number, os.strerror(number))

    def _leave_network() -> None:
        _unshare(os.geteuid(), os.getegid())
        _start_loopback()


def _unshare(user: int, group: int) -> None:
    flags = CLONE_NEWUSER | CLONE_NEWNET if user else CLONE_NEWNET
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if flags & CLONE_NEWUSER:  # else the process would be nobody
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _start_loopback() -> None:
    if sys.platform == "linux":
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as request:
            flags = struct.pack("16sH14s", b"lo", IFF_UP, b"")
            fcntl.ioctl(request, SIOCSIFFLAGS, flags)
