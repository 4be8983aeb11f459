"""Command line of this process: runs the app and prints every `LocalrunError` as one line."""

from __future__ import annotations

import io
import sys

from localrun.cli.internal.background import BACKGROUND_SERVER, serve_in_background
from localrun.cli.output import Output
from localrun.errors import LocalrunError

INTERRUPTED = 130


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.platform == "win32":
        from localrun.system.console import prepare_console

        prepare_console()
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
    _sanitize_warnings()
    if sys.argv[1:3] == BACKGROUND_SERVER:
        serve_in_background(sys.argv[3:])
        return
    from localrun.cli.app import command_line
    from localrun.cli.installation.completion_scripts import INSTALL_OPTIONS, use_own_scripts

    if any(argument.startswith(INSTALL_OPTIONS) for argument in sys.argv[1:2]):
        use_own_scripts()
    command_line()(prog_name="localrun")


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
