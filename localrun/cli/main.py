"""The entry point: run the app, and turn what a user did wrong into one line.

``--version`` and a ``pull`` of names without options are answered before the app is
imported, which takes longer than all else that a pull does beside its bytes (ADR 12).
"""

from __future__ import annotations

import io
import sys

from localrun import __version__
from localrun.cli.output import Output
from localrun.errors import LocalrunError

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return the exit code."""
    _replace_what_cannot_be_written()
    try:
        _run()
    except LocalrunError as error:
        Output().error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _run() -> None:
    command, *rest = sys.argv[1:] or [""]
    if sys.argv[1:] == ["--version"]:
        Output().line(f"localrun {__version__}")
    elif command == "pull" and rest and not any(word.startswith("-") for word in rest):
        from localrun.cli.models.pulling import pull_plainly

        _make_warnings_harmless()
        pull_plainly(rest)
    else:
        from localrun.cli.app import app

        _make_warnings_harmless()
        app(prog_name="localrun")


def _replace_what_cannot_be_written() -> None:
    """Let a letter that the terminal's encoding lacks come out as "?", not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _make_warnings_harmless() -> None:
    """Let warnings of a command, which go to stderr by themselves, not steer a terminal."""
    import logging

    from localrun.logs import HarmlessFormatter

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(HarmlessFormatter())
