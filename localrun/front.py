"""Entry point of the program: hands a command to the warm process, else runs it in this process.

The warm process belongs to a running server and has everything imported. It forks a worker, which
runs the command with this process's files, folder, environment and limits; this process passes
signals on, waits, and ends as the worker ended. Wherever that could differ from the ordinary way,
the ordinary way is taken: no server, another build, a terminal in which this process is in the
background, options or variables of Python, files that only this process has open,
``LOCALRUN_WARM=0``.

Imports only what Python has loaded already or what is built in: this module runs for each command.
"""

from __future__ import annotations

import os
import sys

from localrun import __version__

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:] == ["--version"] and _has_printed_version():
        return 0
    try:
        if sys.platform == "linux" and os.environ.get("LOCALRUN_WARM") != "0":
            from localrun.warm.submission import run_warm

            code = run_warm()
            if code is not None:
                os._exit(code)  # nothing is buffered here
        from localrun.cli.main import main as run_here

        return run_here()
    except KeyboardInterrupt:
        return INTERRUPTED
    except RuntimeError as error:  # Python 3.11 wraps an interrupt of a class statement
        if isinstance(error.__cause__, KeyboardInterrupt):
            return INTERRUPTED
        raise


def _has_printed_version() -> bool:
    """Print the version without importing the command line, which takes ten times as long."""
    try:
        os.write(1, f"localrun {__version__}\n".encode())
    except OSError:  # which the command line reports
        return False
    return True
