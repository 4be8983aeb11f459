"""The child's end of a task: its job from stdin, its messages on stdout, its end with the parent.

See `child_task` for the messages.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.disk import storage_error
from localrun.errors import BackendError, LocalrunError
from localrun.program import private_stdout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, TextIO


class TaskChannel:
    """Messages to the parent; ``remove_output`` runs if the parent ends before the task does."""

    def __init__(
        self,
        stdin: BinaryIO | None = None,
        stdout: TextIO | None = None,
        remove_output: Callable[[], object] = bool,
    ) -> None:
        self._stdin = stdin or sys.stdin.buffer
        self._stream = stdout or private_stdout()
        self._remove_output = remove_output
        self._is_done = threading.Event()

    def read_job(self) -> dict[str, Any]:
        """Return the job, and from now on exit with the parent."""
        job: dict[str, Any] = json.loads(self._stdin.readline() or b"{}")
        threading.Thread(target=self._exit_with_parent, daemon=True).start()
        return job

    def on_abandon(self, remove_output: Callable[[], object]) -> None:
        """Set what removes the output if the parent ends first."""
        self._remove_output = remove_output

    def send(self, **message: object) -> None:
        """Send a message; if nobody reads it, exit as at the end of the parent."""
        try:
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()
        except OSError:  # on Windows, EINVAL
            self._is_done.clear()  # nobody knows of it
            self._exit()

    def finish(self, **result: object) -> int:
        """Send the result, and return the exit code.

        From now on the output stays, whenever the parent ends: a worker of the warm process may
        still run after its parent was told of its exit, and has closed stdin.
        """
        self._is_done.set()
        self.send(result=result)
        return 0

    def fail(self, reason: str) -> int:
        """Send why there is no result, and return the exit code."""
        self.send(failed=reason)
        return BackendError.exit_code

    def fail_with(self, error: LocalrunError | OSError) -> int:
        """Send an error, which the parent raises again, and return the exit code."""
        if isinstance(error, OSError):
            error = storage_error(error, Path(str(error.filename or "a file")))
        self.send(failed=error.message, code=error.code, hint=error.hint)
        return error.exit_code

    def _exit_with_parent(self) -> None:
        """Wait for the end of stdin, then remove the incomplete output and exit at once."""
        self._stdin.read()
        self._exit()

    def _exit(self) -> None:
        """Remove the incomplete output and exit at once; any thread may call it."""
        try:
            if not self._is_done.is_set():
                self._remove_output()
        finally:
            os._exit(BackendError.exit_code)
