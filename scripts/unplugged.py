"""Run a command in a network namespace that has loopback, and no way out of this machine.

As a program, inside of `unshare --net`, it brings loopback up and becomes the command.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

GET_FLAGS, SET_FLAGS = 0x8913, 0x8914  # SIOCGIFFLAGS and SIOCSIFFLAGS of Linux
IS_UP = 1
REQUEST = "16sh22x"  # struct ifreq: name and flags
UNSHARE = ("unshare", "--net", "--map-root-user", "--")


def can_unplug() -> bool:
    """Return whether this user may make network namespaces."""
    if shutil.which(UNSHARE[0]) is None:
        return False
    tried = subprocess.run([*UNSHARE, "true"], check=False, stderr=subprocess.DEVNULL)
    return tried.returncode == 0


def unplugged(command: list[str]) -> list[str]:
    """Return the command that runs a command without the network."""
    return [*UNSHARE, sys.executable, __file__, *command]


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack(REQUEST, b"lo", 0)
        _, flags = struct.unpack(REQUEST, fcntl.ioctl(any_socket, GET_FLAGS, request))
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack(REQUEST, b"lo", flags | IS_UP))


if __name__ == "__main__":
    bring_loopback_up()
    os.execvp(sys.argv[1], sys.argv[1:])
