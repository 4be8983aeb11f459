"""What the warm process of a server imports, and what its workers run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.supervisor.runner_process import RUNNER_ENVIRONMENT
from localrun.warm.process import start_warm

if TYPE_CHECKING:
    from localrun.warm.process import Warm

# runners first: a first command waits for one. Libraries that read the environment when they are
# imported, such as huggingface_hub, and what few commands need, stay out.
MODULES = (
    "localrun.cli.internal.runner", "localrun.runner.main", "localrun.runner.saved_prompts",
    "localrun.cli.app", "rich.console", "typer.rich_utils",
)  # fmt: skip


def start(path: str) -> Warm | None:
    """Fork the warm process that listens at ``path``; return None if it cannot be had."""
    if os.environ.get("LOCALRUN_WARM") == "0":
        return None
    return start_warm(path, _run, MODULES, RUNNER_ENVIRONMENT)


def _run() -> int:
    from localrun.cli.main import main

    return main()
