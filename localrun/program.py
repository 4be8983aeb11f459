"""How this program is started again, for its own child processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def program_command() -> list[str]:
    """Return the command that runs this program again, also from a one-file build.

    ``-P`` keeps Python from importing modules that lie in the user's current folder.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "localrun"]


def private_stdout() -> TextIO:
    """Return stdout, and let everybody else in this process print to stderr.

    For children that answer there: native libraries print where they like.
    """
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream
