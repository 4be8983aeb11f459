"""The whole server, signals and all, with the fake runner behind the guide model.

    python -m tests.fakes.server_program LOG_DIR [DRAIN_S]

Logs to stderr, where it also says which free port it has.
"""

from __future__ import annotations

import sys
from pathlib import Path

from localrun.server.start import run_server
from localrun.settings import Settings
from tests.fakes.starting import start_fake

if __name__ == "__main__":
    drain_s = float(sys.argv[2]) if sys.argv[2:] else 0.5  # not as long as users may wait
    settings = Settings(port=0, log_dir=Path(sys.argv[1]), drain_s=drain_s)
    run_server(settings, background=False, start=start_fake)
