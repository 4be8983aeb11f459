"""Entry point: runs the app and prints every `LocalrunError` as one line.

``--version`` and a ``pull`` of names without options run before the app is imported, because the
import takes longer than everything else a pull does besides its download (ADR 12).
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
    _replace_unencodable_characters()
    try:
        _run()
    except LocalrunError as error:
        Output().error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _run() -> None:
    command, *arguments = sys.argv[1:] or [""]
    if sys.argv[1:] == ["--version"]:
        Output().line(f"localrun {__version__}")
    elif command == "pull" and arguments and not any(word.startswith("-") for word in arguments):
        from localrun.cli.models.pulling import pull_without_options

        _sanitize_warnings()
        pull_without_options(arguments)
    else:
        from localrun.cli.app import app

        _sanitize_warnings()
        app(prog_name="localrun")


def _replace_unencodable_characters() -> None:
    """Print "?" for a character that the terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _sanitize_warnings() -> None:
    """Remove terminal escape codes from warnings, which logging prints to stderr by itself."""
    import logging

    from localrun.logs import HarmlessFormatter

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(HarmlessFormatter())
