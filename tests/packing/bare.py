"""Program that starts another one in a bare root: python bare.py ROOT FILE SCRIPT.

It runs in namespaces of its own (``unshare -m -n``). The network has only its loopback, the root
is read-only but for /one, and the script of the shell runs as the user nobody, with nothing in the
environment but PATH, HOME, which cannot be written, and folders in /one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

assert sys.platform != "win32"

NOBODY = 65534
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def main(root: str, file: str, script: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loopback:
        fcntl.ioctl(loopback, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP, b""))
    mount("--bind", root, root)
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--rbind", "/dev", f"{root}/dev")
    mount("-t", "tmpfs", "-o", "size=2g", "tmpfs", f"{root}/srv")
    shutil.copy(file, f"{root}/srv/localrun")
    for folder in ("one", "one/run"):
        Path(root, "srv", folder).mkdir(mode=0o700)
        os.chown(f"{root}/srv/{folder}", NOBODY, NOBODY)
    mount("-o", "remount,ro,bind", root, root)
    os.chroot(root)
    os.chdir("/srv")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    one = "/srv/one"
    places = {"LOCALRUN_MODELS": f"{one}/models", "XDG_RUNTIME_DIR": f"{one}/run"}
    places |= {f"XDG_{name}_HOME": f"{one}/{name.lower()}" for name in ("CACHE", "STATE", "DATA")}
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **places}
    os.execve("/bin/bash", ["bash", "-e", "-c", script], environ)  # noqa: S606 - a shell


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
