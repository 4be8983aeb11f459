"""Program under test: this checkout, or the file that ``scripts/test --binary FILE`` names."""

from __future__ import annotations

import os
import shlex
import sys

BINARY = os.environ.get("LOCALRUN_TEST_BINARY")  # an absolute path
PROGRAM = [BINARY] if BINARY else [sys.executable, "-m", "localrun"]
IN_SHELL = shlex.join(PROGRAM)
