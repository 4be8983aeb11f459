"""How this program is started again, for its own child processes."""

from __future__ import annotations

import sys


def program_command() -> list[str]:
    """Return the command that runs this program again, also from a one-file build.

    ``-P`` keeps Python from importing modules that lie in the user's current folder.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "localrun"]
