"""Hidden command of a server's jobs: pull, push, create, and the cutting of sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer import Exit

if TYPE_CHECKING:
    from typing import BinaryIO

GRACE_S = 3.0
INTERRUPTED = 130


def job() -> None:
    """Run the job on the first line of stdin until stdin ends; internal.

    ``num_bytes`` of an order are the bytes of a file that follow the line.
    """
    import json
    import os
    import sys
    import threading

    from localrun.services.jobs import run_job
    from localrun.services.workspace import open_workspace

    order = json.loads(sys.stdin.buffer.readline())
    order["data"] = sys.stdin.buffer.read(order.get("num_bytes", 0))
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    stream = _private_stdout()

    def write(message: dict[str, Any]) -> None:
        stream.write(json.dumps(message).encode() + b"\n")

    succeeded = run_job(open_workspace(os.environ), order, write)
    raise Exit(0 if succeeded else 1)


def _private_stdout() -> BinaryIO:
    """Return stdout, and redirect all other output of this process to stderr."""
    import os
    import sys

    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def _exit_with_parent() -> None:
    """Interrupt the main thread when stdin ends, and exit if it has not ended after `GRACE_S`.

    Reads the file descriptor: Python's own stdin must not be in use when the interpreter exits.
    """
    import os
    import time

    from localrun.system.processes import interrupt_main_thread

    while os.read(0, 1024):
        pass
    interrupt_main_thread()
    time.sleep(GRACE_S)
    os._exit(INTERRUPTED)
