"""Tasks of llama.cpp in a child process: quantizing and measuring.

llama.cpp cannot be cancelled in all of them, and aborts the process on some damaged files; so a
child does the work, and a crash or a Ctrl-C ends only that child. The job is one line of JSON on
its stdin, which stays open: if this process dies, the pipe closes and the child exits. Its answers
are lines of JSON on its stdout:

    {"done": 3, "of": 310}                    progress, with further keys of the task
    {"note": "..."}                           a line for the user
    {"result": {...}}                         last line: success
    {"failed": "requantizing from ..."}       last line: the reason; "code" and "hint" of an error

This module does not import llama.cpp.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from localrun.errors import (
    BackendError,
    IntegrityError,
    LoadError,
    LocalrunError,
    NotFoundError,
    StorageError,
    UsageError,
)
from localrun.program import program_command
from localrun.system.processes import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import IO

    OnMessage = Callable[[Mapping[str, Any]], None]

# without it, llama.cpp's abort() spends seconds in a debugger
CHILD_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1"}
COMMAND = "engine-task"
LAST = ("result", "failed")
ERRORS = {
    kind.code: kind
    for kind in (BackendError, IntegrityError, LoadError, NotFoundError, StorageError, UsageError)
}


class EngineTask(StrEnum):
    """What a child does."""

    QUANTIZE = "quantize"
    IMATRIX = "imatrix"
    PERPLEXITY = "perplexity"


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """Last message of a child: a result, or the reason why there is none."""

    result: Mapping[str, Any]
    failure: str | None
    error: LocalrunError | None = None  # the failure, if the child knows which error it is

    def checked(self) -> Mapping[str, Any]:
        """Return the result.

        Raises:
            LocalrunError: the child's error.
        """
        if self.failure is not None:
            raise self.error or BackendError(self.failure)
        return self.result


def run_task(
    task: EngineTask, job: Mapping[str, object], on_message: OnMessage | None = None
) -> TaskEnd:
    """Run a child and return how it ended; the child never outlives this call.

    Raises:
        BackendError: it crashed.
    """
    with tempfile.TemporaryFile() as stderr:
        child = spawn(
            [*program_command(), COMMAND, task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr.fileno(),
            environ={**os.environ, **CHILD_ENVIRONMENT},
        )
        with child:
            try:
                _send(child, job)
                last = _last_message(child.stdout or (), on_message)
                child.wait()  # with stdin open: closing it would make the child exit
            finally:
                child.kill()
        if not any(key in last for key in LAST):
            raise _crashed(task, child.returncode, stderr)
    return TaskEnd(last.get("result", {}), last.get("failed"), _error(last))


def _error(message: Mapping[str, Any]) -> LocalrunError | None:
    kind = ERRORS.get(message.get("code", ""))
    return None if kind is None else kind(message["failed"], hint=message.get("hint"))


def _send(child: subprocess.Popen[bytes], job: Mapping[str, object]) -> None:
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # a child that has crashed says so on stderr
            child.stdin.write(json.dumps(job).encode() + b"\n")
            child.stdin.flush()


def _last_message(lines: Iterable[bytes], on_message: OnMessage | None) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for line in lines:
        message = json.loads(line)
        if on_message is not None and not any(key in message for key in LAST):
            on_message(message)
    return message


def _crashed(task: EngineTask, status: int, stderr: IO[bytes]) -> BackendError:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    reason = next((line.strip() for line in reversed(lines) if line.strip()), f"status {status}")
    return BackendError(
        f"llama.cpp crashed in {task}: {reason}",
        hint="the file may be damaged, or memory insufficient: --threads 1 needs the least",
    )
