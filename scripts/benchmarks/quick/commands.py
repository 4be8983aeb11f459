"""Wall time of a command: until its end or its first output, through pipes or on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BARE_PYTHON = [sys.executable, "-I", "-S", "-c", "pass"]
CHUNK_BYTES = 1 << 16
REPLIES = {  # of a terminal: some programs wait for its colours and its cursor
    b"\x1b]10;?": b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b[6n": b"\x1b[1;1R",
}


class CommandError(Exception):
    """A command failed; the text has its output."""


def piped_ms(command: list[str], environ: Mapping[str, str]) -> float:
    """Return the milliseconds until a command has ended."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, env=environ, check=False, stdin=subprocess.DEVNULL, capture_output=True
    )
    passed_s = time.perf_counter() - begun
    _check(command, done.returncode, done.stdout + done.stderr)
    return 1000 * passed_s


def first_output_ms(command: list[str], environ: Mapping[str, str]) -> float:
    """Return the milliseconds until a command writes something; it is read to its end."""
    begun = time.perf_counter()
    reading, writing = os.pipe()
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=writing
    ) as process:
        os.close(writing)
        output = os.read(reading, CHUNK_BYTES)
        passed_s = time.perf_counter() - begun
        while chunk := os.read(reading, CHUNK_BYTES):
            output += chunk
        os.close(reading)
    _check(command, process.returncode, output)
    return 1000 * passed_s


def terminal_ms(command: list[str], environ: Mapping[str, str]) -> float:
    """Return the milliseconds until a command on a terminal of its own has ended."""
    begun = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execve(command[0], command, environ)
        finally:
            os._exit(127)
    output = b""
    try:
        while chunk := os.read(terminal, CHUNK_BYTES):
            output += chunk
            for query, reply in REPLIES.items():
                if query in chunk:
                    os.write(terminal, reply)
    except OSError:  # how Linux reports that the last process has closed the terminal
        pass
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    passed_s = time.perf_counter() - begun
    _check(command, os.waitstatus_to_exitcode(status), output)
    return 1000 * passed_s


def _check(command: list[str], code: int, output: bytes) -> None:
    if code != 0:
        text = output.decode(errors="replace")[-1000:]
        raise CommandError(f"{' '.join(command)} exits with {code}: {text}")
