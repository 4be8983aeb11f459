"""Signals that tests send, for every system.

The fake runner imports this module and not `tests.unix_calls`: tests start hundreds of fake
runners, and pytest, which skips a test, takes longer to import than all else that they need.
"""

from __future__ import annotations

import signal
import sys

if sys.platform == "win32":
    SIGKILL = signal.SIGTERM  # which ends a process as surely
else:
    SIGKILL = signal.SIGKILL
