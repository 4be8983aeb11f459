"""Start a runner: a child process of our own program."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from localrun.errors import LoadError
from localrun.program import program_command

if TYPE_CHECKING:
    import socket

# Without the first, llama.cpp's abort() spends seconds in a debugger. The second is how long
# its threads spin at a barrier before they sleep, here 4 ms: through the work between two
# steps. Shorter costs a 0.6B model on 4 processors 10 % of its rate; `ThreadGauge` sees to it
# that a busy machine does not make them spin for nothing.
RUNNER_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1", "GOMP_SPINCOUNT": "100000"}


def start_runner(child_end: socket.socket, device: str = "auto") -> subprocess.Popen[bytes]:
    """Start a runner that talks over ``child_end``; its stderr is a pipe.

    ``device`` is what it puts layers on where the order to load names no devices.

    It has a session of its own, so that a Ctrl-C in the server's terminal reaches
    the server alone, which then ends its runners in order.

    Raises:
        LoadError: the system has no process or memory left for it.
    """
    fd = child_end.fileno()
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*program_command(), "runner", "--fd", str(fd), "--device", device],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **RUNNER_ENVIRONMENT},
            start_new_session=True,
        )
    except OSError as error:
        raise LoadError(f"a runner cannot be started: {error.strerror}") from error
