"""Workers of the settings: their commands, and whether llama.cpp here can use them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import BackendError
from localrun.hardware.unused import Surroundings, rebuild_command
from localrun.sockets import has_tcp_only
from localrun.workers.command import parse_commands

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.workers.command import WorkerCommand

MODULES = "lib/*ggml-rpc.*"


def check_workers(lines: Iterable[str]) -> tuple[WorkerCommand, ...]:
    """Return the commands of workers; loads nothing and starts nothing.

    Raises:
        UsageError: a line is no command.
        BackendError: this build of llama.cpp has no RPC backend, the hint is how to get it; or the
            system has no Unix sockets.
    """
    commands = parse_commands(lines)
    if commands and has_tcp_only():
        raise BackendError(
            "workers need Unix sockets, which this system lacks, or LOCALRUN_TRANSPORT switches off"
        )
    if commands and not has_rpc():
        raise BackendError(
            "this build of llama.cpp cannot use workers: it has no RPC backend",
            hint=rebuild_command("RPC", Surroundings.of_this_process(os.environ)),
        )
    return commands


def has_rpc() -> bool:
    """Return whether llama.cpp has its RPC backend, by its files."""
    folder = _package()
    return folder is not None and any(folder.glob(MODULES))


def _package() -> Path | None:
    spec = importlib.util.find_spec("llama_cpp")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
