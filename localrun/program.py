"""Command line of this program for its own child processes.

A separate module, because the engine, the hardware probe, the supervisor and the client need it and
share no other.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


# Without the first, llama.cpp's abort() spends seconds in a debugger. The second is how long
# its threads spin at a barrier before they sleep, here 4 ms: through the work between two
# steps. Shorter costs a 0.6B model on 4 processors 10 % of its rate; `ThreadGauge` prevents
# useless spinning on a busy machine.
RUNNER_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1", "GOMP_SPINCOUNT": "100000"}
BINARY = "LOCALRUN_BINARY"  # the file of a one-file build, which its launcher sets


def binary_file() -> str | None:
    """Return the path of the one-file build that runs, None if this is another installation."""
    path = os.environ.get(BINARY, "")
    return path if path.startswith("/") and os.access(path, os.X_OK) else None


def program_command() -> list[str]:
    """Return the command that starts this program again, also from a one-file build.

    ``-P`` keeps Python from importing modules in the user's current folder.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "localrun"]


def private_stdout() -> TextIO:
    """Return stdout, and redirect the stdout of everything else in this process to stderr.

    For child processes that answer on stdout: native libraries print wherever they like.
    """
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream
