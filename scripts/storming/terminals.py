"""Random commands, keys, kills and signals on two terminals; at the end nothing may be left.

Two shells with job control share one server in private folders. Each turn types a command, presses
a key, resizes the window, or kills or signals a client, a worker, the warm process or the server.
After `stop --server` no process, socket, lock or changed terminal mode may remain.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "list", "list --json", "ps", "show guide", "run guide hi", "run guide 'Tell me all.'",
    "run guide", "run guide < /dev/null", "--version", "--help", "list nothing", "nosuch",
    "list | head -c 5", "list &", "run guide hi &", "copy guide mine{n}", "remove mine{n}",
    "verify guide", "stop guide", "doctor", "stop --server", "load guide", "remove guide",
    "(ulimit -n 60; exec $LR list)", "cd /; $LR list", "show guide | sh -c 'exec true'",
)  # fmt: skip
KEYS = ("\x03", "\x03", "\x1a", "\x04", "\x1c", "fg\n", "bg\n", "kill %1\n", "\n", "/bye\n", "hi\n")
VICTIMS = ("client", "client", "worker", "worker", "warm", "server", "runner")
SIGNALS = (
    signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP,
    signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH,
)  # fmt: skip
SLOWEST_S = 0.4  # between two turns
SETTLE_S = 60.0


@dataclass
class Result:
    """What happened, and what was left; ``complaints`` is empty if all is well."""

    turns: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class Terminal:
    """A shell on a pseudo terminal, whose output is read and forgotten."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.pid, self._fd = pty.fork()
        if not self.pid:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environ)
        self.shown = b""
        self._marks = 0
        self._await_prompt()  # a Ctrl-C would end a shell that is still starting
        self.settle()
        self.modes = termios.tcgetattr(self._fd)

    def type(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a reader that is stopped has a full terminal
            os.write(self._fd, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def read(self, timeout_s: float) -> None:
        while select.select([self._fd], [], [], timeout_s)[0]:
            self.shown = (self.shown + os.read(self._fd, 65536))[-100_000:]
            timeout_s = 0

    def _await_prompt(self) -> None:
        deadline_s = time.monotonic() + SETTLE_S
        while not self.shown and time.monotonic() < deadline_s:
            self.read(0.1)

    def settle(self) -> bool:
        """End all jobs; return whether the shell answers and the modes are those of the start."""
        deadline_s = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline_s:
            self._marks += 1
            mark = f"mark-{self._marks}-"
            for text in ("\x03", "\x04" if self._marks % 4 == 3 else "", "\x03"):
                self.type(text)
                self.read(0.1)
            self.type(f"kill -KILL $(jobs -p) 2>/dev/null; wait; echo {mark}$((1))\n")
            for _ in range(20):
                self.read(0.1)
                if f"{mark}1".encode() in self.shown:
                    self.read(0.2)
                    return True
        return False

    def has_its_modes(self) -> bool:
        return termios.tcgetattr(self._fd) == self.modes

    def close(self) -> None:
        os.close(self._fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Chaos:
    """Two terminals and a server in a folder of their own."""

    def __init__(self, folder: Path, seed: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.result = Result()
        self._random = random.Random(seed)
        self._folder = folder
        self._command = f"{sys.executable} -m localrun"
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._environ = {
            **plain,
            "CHAOS": address,  # by which its processes are found
            "HOME": str(folder),
            "LR": self._command,
            "LOCALRUN_HOST": address,
            "LOCALRUN_MODELS": str(folder / "models"),
            "LOCALRUN_CACHE": str(folder / "cache"),
            "LOCALRUN_LOG_DIR": str(folder / "log"),
            "LOCALRUN_IDLE_EXIT": "600",
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PS1": "$ ",
            "IGNOREEOF": "100000",  # Ctrl-D is for the commands
        }
        (folder / "run").mkdir(mode=0o700)
        os.chdir(ROOT)
        self._terminals = [Terminal(self._environ) for _ in range(2)]

    def run(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            terminal = self._random.choice(self._terminals)
            self._turn(terminal)
            for each in self._terminals:
                each.read(self._random.random() * SLOWEST_S / 2)

    def _turn(self, terminal: Terminal) -> None:
        kind = self._random.choices(("command", "key", "signal", "resize"), (5, 4, 3, 1))[0]
        if kind == "command":
            words = self._random.choice(COMMANDS).replace("{n}", str(self._random.randrange(3)))
            terminal.type(f"{words}\n" if "$LR" in words else f"$LR {words}\n")
        elif kind == "key":
            terminal.type(self._random.choice(KEYS))
        elif kind == "resize":
            terminal.resize(self._random.randrange(5, 60), self._random.randrange(20, 200))
        else:
            kind = self._kill()
        self.result.turns[kind] += 1

    def _kill(self) -> str:
        victim, number = self._random.choice(VICTIMS), self._random.choice(SIGNALS)
        if victim in {"warm", "server", "runner"} and number in {signal.SIGSTOP, signal.SIGTSTP}:
            number = signal.SIGKILL  # a stopped server is waited for, and says so
        pids = [pid for pid, words in self.processes().items() if kind_of(words) == victim]
        if not pids:
            return f"no {victim}"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._random.choice(pids), number)
        return f"{victim} {number.name}"

    def processes(self) -> dict[int, list[str]]:
        """Return the words of the program's processes that belong to this chaos."""
        mark = f"CHAOS={self._environ['CHAOS']}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (
                    (folder / "cmdline")
                    .read_bytes()
                    .rstrip(b"\0")
                    .decode(errors="replace")
                    .split("\0")
                )
                is_ours = mark in (folder / "environ").read_bytes()
                if is_ours and any("localrun" in word for word in words):
                    found[int(folder.name)] = words
        return found

    def finish(self) -> Result:
        """End everything, and complain about what is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for number, terminal in enumerate(self._terminals):
            if not terminal.settle():
                self._complain(f"terminal {number} does not answer: {terminal.shown[-2000:]!r}")
            elif not terminal.has_its_modes():
                self._complain(f"terminal {number} has other modes")
        stop = [sys.executable, "-m", "localrun", "stop", "--server"]
        done = subprocess.run(stop, check=False, capture_output=True, env=self._environ, timeout=60)
        if done.returncode != 0 and b"no server" not in done.stderr + done.stdout:
            self._complain(f"stop --server: {done}")
        for terminal in self._terminals:
            terminal.close()
        self._wait_for_processes()
        self._look_at_files()
        return self.result

    def _wait_for_processes(self) -> None:
        deadline_s = time.monotonic() + SETTLE_S
        while (left := self.processes()) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        for pid, words in left.items():
            self._complain(f"process {pid} is left: {words}")
            os.kill(pid, signal.SIGKILL)

    def _look_at_files(self) -> None:
        for path in self._folder.rglob("*"):
            if path.suffix == ".lock" and path.is_file() and _is_locked(path):
                self._complain(f"{path} is still locked")
        checks = (["list"], ["verify"], ["run", "guide", "hi"], ["stop", "--server"])
        for words in checks:
            command = [sys.executable, "-m", "localrun", *words]
            done = subprocess.run(
                command, check=False, capture_output=True, env=self._environ, timeout=120
            )
            if done.returncode != 0:
                self._complain(f"{words} afterwards: {done}")
        self._wait_for_processes()
        # a killed server leaves its sockets to the next one, which removes them at its end
        for path in (self._folder / "run").rglob("*"):
            if path.is_socket():
                self._complain(f"socket {path.name} is left")

    def _complain(self, text: str) -> None:
        self.result.complaints.append(text)


def kind_of(words: list[str]) -> str:
    """Return which process has these words."""
    if words[0] != "localrun":
        return "server" if "serve" in words else "client"
    return {"warm": "warm", "runner": "runner"}.get(words[1] if len(words) > 1 else "", "worker")


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def run_chaos(seconds: float, seed: int) -> Result:
    """Run chaos for some seconds, and return what it left."""
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        chaos = Chaos(Path(folder), seed)
        chaos.run(seconds)
        return chaos.finish()
