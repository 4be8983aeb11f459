"""How this program is started again, for its own child processes."""

from __future__ import annotations

import sys


def program_command() -> list[str]:
    """Return the command that runs this program again, also from a one-file build."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "localrun"]
