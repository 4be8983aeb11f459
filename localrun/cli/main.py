"""The entry point: run the app, and turn what a user did wrong into one line.

``--version`` is answered before anything is imported; nothing else is special.
"""

from __future__ import annotations

import sys

from localrun import __version__

INTERRUPTED = 130
DISK_FULL = 8


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"localrun {__version__}\n")
        return 0
    from localrun.cli.app import app
    from localrun.cli.output import Output, OutputClosedError
    from localrun.errors import LocalrunError

    try:
        app(prog_name="localrun")
    except LocalrunError as error:
        Output().error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputClosedError:
        return _leave_quietly(0)
    except OSError as error:
        Output().os_error(error)
        return _leave_quietly(DISK_FULL)
    return 0


def _leave_quietly(code: int) -> int:
    """Keep Python from complaining about a stdout that cannot be flushed at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
