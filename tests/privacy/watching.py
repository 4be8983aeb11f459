"""Watch of the network: what programs under test, and this process, ask beyond this machine.

Programs under test are watched by a preloaded library, which holds for all of their children and
for native code, whatever the options of Python: their connections and name lookups beyond this
machine are refused and written to a file. This process is watched by an audit hook.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("watch.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
FILE, PRELOAD = "NETWORK_WATCH", "LD_PRELOAD"
LOCAL_NAMES = {"", "localhost"}
CAN_WATCH_PROGRAMS = sys.platform == "linux" and COMPILER is not None
needs_watch = pytest.mark.skipif(not CAN_WATCH_PROGRAMS, reason="needs Linux and a C compiler")
_open_watches: list[Watch] = []  # an audit hook cannot be removed


@dataclass(frozen=True)
class Watch:
    """A watch, and the file with what it has seen."""

    file: Path
    library: Path

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables of programs that are watched."""
        if not CAN_WATCH_PROGRAMS:
            return {}
        preloaded = os.environ.get(PRELOAD, "")
        libraries = [str(self.library), *preloaded.split()]
        return {FILE: str(self.file), PRELOAD: " ".join(dict.fromkeys(libraries))}

    def seen(self) -> list[str]:
        """Return what was asked since the last call, and forget it."""
        try:
            text = self.file.read_text()
        except FileNotFoundError:
            return []
        self.file.unlink()
        return [" ".join(line.split()) for line in text.splitlines()]

    def note(self, line: str) -> None:
        with self.file.open("a") as out:
            out.write(f"{line} ({os.getpid()}: the tests)\n")


@contextlib.contextmanager
def watch_network(folder: Path) -> Iterator[Watch]:
    """Watch this process, and the programs that it starts from now on."""
    watch = Watch(folder / "network.log", folder / "watch.so")
    if CAN_WATCH_PROGRAMS:
        options = ("-O1", "-shared", "-fPIC", "-o", watch.library, SOURCE, "-ldl")
        subprocess.run([str(COMPILER), *options], check=True)
    if not _open_watches:
        sys.addaudithook(_hear)
    _open_watches.append(watch)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in watch.environ.items():
            monkeypatch.setenv(name, value)
        yield watch
    _open_watches.append(_CLOSED)


_CLOSED = Watch(Path(os.devnull), Path(os.devnull))


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple):
        _hear_host(event, arguments[1][0])
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        _hear_host(event, arguments[0])


def _hear_host(event: str, host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if not is_local(name) and _open_watches[-1] is not _CLOSED:
        _open_watches[-1].note(f"{event} {name}")


def is_local(host: str) -> bool:
    """Return whether a host is this machine; the name of another one is not looked up."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host in LOCAL_NAMES
    return address.is_loopback or address.is_unspecified
