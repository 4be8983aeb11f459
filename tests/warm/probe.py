"""A program with the entry point of localrun and acts of its own, run warm or the ordinary way.

The acts show what a command could notice. Each run adds its way to the file of ``PROBE_WAYS``.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import atexit
import hashlib
import json
import locale
import os
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localrun import front
from localrun.warm.own_terminal import claim_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

WARM, ORDINARY = "warm", "ordinary"
POLL_S = 0.01
REPORTED = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH")


def main() -> int | None:
    """Run the act that the arguments name; return its exit code."""
    with Path(os.environ["PROBE_WAYS"]).open("a") as ways:
        ways.write(f"{WARM if _is_warm() else ORDINARY} {os.getpid()}\n")
    return ACTS[sys.argv[1]](*sys.argv[2:])


def _is_warm() -> bool:
    return "tests.warm.holder" in sys.modules


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_state() -> int:
    """Print what a process has from its parent."""
    umask = os.umask(0)
    os.umask(umask)
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    signals = [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
    state = {
        "umask": umask,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "processors": sorted(os.sched_getaffinity(0)),
        "environ": {name: value for name, value in os.environ.items() if name != "LOCALRUN_WARM"},
        "arguments": sys.argv[1:],
        "folder": _folder(),
        "streams": [_stream(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "num_files": len([*Path("/proc/self/fd").iterdir()]) - _is_warm(),
        "ignored": signals,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "encodings": [locale.getpreferredencoding(), sys.getfilesystemencoding()],
        "locale": locale.setlocale(locale.LC_CTYPE),
        "hour": time.localtime(0).tm_hour,
        "temporary": tempfile.gettempdir(),
        "writes_bytecode": sys.dont_write_bytecode,
        "user": os.getresuid(),
        "group": os.getresgid(),
    }
    say(json.dumps(state, sort_keys=True))
    return 0


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return "gone"


def _stream(stream: object) -> list[str]:
    names = "name", "mode", "encoding", "errors", "newlines", "line_buffering", "write_through"
    return [str(getattr(stream, name, "")) for name in names]


def end(code: str = "") -> int | None:
    """End with a code, a text, or nothing."""
    if code.lstrip("-").isdigit():
        sys.exit(int(code))
    sys.exit(code or None)


def fail() -> int:
    raise ValueError("as planned")


def die(number: str) -> int:
    os.kill(os.getpid(), int(number))
    return 0


def report_signals() -> int:
    """Print the names of signals until SIGTERM; be interrupted by nothing."""
    is_over = False

    def report(number: int, _frame: FrameType | None) -> None:
        nonlocal is_over
        is_over = is_over or number == signal.SIGTERM
        os.write(1, f"{signal.Signals(number).name}\n".encode())

    for name in REPORTED:
        signal.signal(getattr(signal, f"SIG{name}"), report)
    say("ready")
    while not is_over:
        select.select([], [], [], POLL_S)
    return 3


def hold() -> int:
    """Wait for a signal, as a command that works for long."""
    say("ready")
    while True:
        select.select([], [], [], POLL_S)


def interrupted() -> int:
    """Be interrupted as a command is."""
    try:
        return hold()
    except KeyboardInterrupt:
        return 130


def echo() -> int:
    sys.stdout.write(sys.stdin.read())
    return 0


def chat() -> int:
    """Read lines as a chat does, with an editor of lines."""
    import readline  # noqa: F401

    while True:
        try:
            say(f"<{input('> ')}> {' '.join(map(str, os.get_terminal_size()))}")
        except EOFError:
            return 7
        except KeyboardInterrupt:
            say("interrupted")


def edit() -> int:
    """Need the terminal, then ask for a line."""
    claim_terminal()
    return chat()


def raw() -> int:
    """Put the terminal into raw mode and hold."""
    import tty

    tty.setraw(0)
    return hold()


def flood() -> int:
    for number in range(100_000):
        sys.stdout.write(f"line {number}\n")
    return 0


def measure() -> int:
    """Print a digest of the arguments and the environment."""
    environ = sorted(item for item in os.environb.items() if item[0] != b"LOCALRUN_WARM")
    say(hashlib.sha256(repr((sys.argv[1:], environ)).encode()).hexdigest())
    return 0


def parent() -> int:
    """Start a child of the same process group, and wait for it."""
    child = subprocess.Popen(["sleep", "600"])
    say(str(child.pid))
    return child.wait() & 0xFF


def finish() -> int:
    """Leave work to the end of the interpreter."""
    atexit.register(lambda: sys.stdout.write("last\n"))
    written = threading.Event()

    def end_late() -> None:
        written.wait()
        select.select([], [], [], POLL_S)
        sys.stdout.write("thread\n")

    threading.Thread(target=end_late).start()
    try:
        sys.stdout.write("main\n")
    finally:
        written.set()
    return 5


def serve() -> int:
    """End at once: the name matters."""
    return 0


ACTS: dict[str, Callable[..., int | None]] = {
    each.__name__: each
    for each in (
        show_state, end, fail, die, report_signals, hold, interrupted, echo, chat, raw, flood,
        measure, parent, finish, serve, edit,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.modules["localrun.cli.main"] = sys.modules["__main__"]
    sys.exit(front.main())
