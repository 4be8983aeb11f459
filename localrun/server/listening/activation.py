"""Sockets of a service manager, which listens for a server that does not run yet.

systemd passes the listening socket as file descriptor 3 (``LISTEN_FDS``, ``LISTEN_PID``;
sd_listen_fds(3)); launchd hands it over by the name it has in the property list
(launch_activate_socket(3)). The manager keeps the socket open: requests that come after the server
has left start the next one. systemd is notified when the server is ready (sd_notify(3)).

The variables are removed from the environment, because they are for this process alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_FD = 3
LAUNCHD_SOCKET = "Listeners"  # in the property list
LAUNCHD_NAME = "LOCALRUN_LAUNCHD"  # is set in the property list
REINSTALL = "localrun service install   writes the service anew"


@dataclass(frozen=True, slots=True)
class Activation:
    """What the service manager passed to this process."""

    listener: socket.socket | None = None
    notify_path: str | None = None

    def notify(self, state: str) -> None:
        """Send a state, such as READY=1, to systemd; do nothing if it does not wait for one."""
        path = self.notify_path
        kind = socket.SOCK_DGRAM
        if sys.platform != "win32" and path is not None:
            address = f"\0{path[1:]}" if path.startswith("@") else path
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as out:
                out.sendto(state.encode(), address)


def take_activation(environ: MutableMapping[str, str]) -> Activation:
    """Return the socket that a service manager passed, and remove its variables.

    Raises:
        UsageError: the service passes anything else than one listening TCP socket.
        BackendError: launchd refuses to hand over the socket.
    """
    notify_path = environ.pop("NOTIFY_SOCKET", None)
    is_launchd = environ.pop(LAUNCHD_NAME, None) is not None and sys.platform == "darwin"
    files = _launchd_files() if is_launchd else _systemd_files(environ)
    if not files:
        return Activation(None, notify_path)
    if len(files) > 1:
        raise UsageError(f"the service passes {len(files)} sockets, not one", hint=REINSTALL)
    return Activation(_checked(files[0]), notify_path)


def _systemd_files(environ: MutableMapping[str, str]) -> range:
    process, count = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS"))
    environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not count.isdecimal():  # none, or they are our parent's
        return range(0)
    return range(FIRST_FD, FIRST_FD + int(count))


def _launchd_files() -> list[int]:
    """Return the file descriptors of the socket in the property list."""
    import ctypes  # lazy: only here

    library = ctypes.CDLL(None)
    files, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    number = library.launch_activate_socket(
        LAUNCHD_SOCKET.encode(), ctypes.byref(files), ctypes.byref(count)
    )
    if number != 0:
        raise BackendError(
            f"launchd does not hand over its socket: {os.strerror(number)}", hint=REINSTALL
        )
    found = [files[index] for index in range(count.value)]
    library.free(files)
    return found


def _checked(fd: int) -> socket.socket:
    """Return the listening TCP socket of a file descriptor, which children do not inherit.

    Raises:
        UsageError: the file is something else.
    """
    try:
        is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError as error:
        raise UsageError(f"the service passes no open file: {fd}", hint=REINSTALL) from error
    listener = socket.socket(fileno=fd) if is_socket else None
    if listener is None or not _is_listening(listener):
        if listener is not None:
            listener.detach()
        raise UsageError(
            "the service passes a file that is no listening TCP socket", hint=REINSTALL
        )
    listener.set_inheritable(False)
    return listener


def _is_listening(each: socket.socket) -> bool:
    is_tcp = each.family in {socket.AF_INET, socket.AF_INET6} and each.type == socket.SOCK_STREAM
    return is_tcp and bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
