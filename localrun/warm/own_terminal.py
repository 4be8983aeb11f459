"""Commands that need the terminal as their own, which a worker hands back to its client.

A worker is no job of the client's terminal. A line editor, or a program that it starts such as
$EDITOR, needs what only a job has: the controlling terminal, Ctrl-Z of the shell, its process group
in the foreground. So an interactive command runs in the client's own process.
"""

from __future__ import annotations

import sys
from io import BufferedReader


class HandedBackError(BaseException):  # nothing on the way may catch it as an ordinary error
    """The command ends here, and runs in the client's own process."""


def claim_terminal() -> None:
    """Go on in a process that is a job of its terminal.

    Must be called before the command has done anything. In a worker it does not return: the client
    runs the command from its beginning.

    Raises:
        HandedBackError: this process is a worker.
    """
    if sys.platform == "linux":
        from localrun.warm.foreground import WorkerInput

        buffer = getattr(sys.stdin, "buffer", None)
        if isinstance(buffer, BufferedReader) and isinstance(buffer.raw, WorkerInput):
            raise HandedBackError
