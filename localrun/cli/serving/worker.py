"""``localrun worker``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.options import DeviceOption


def worker(
    *,
    device: DeviceOption = None,
    memory: Annotated[
        str | None,
        Option(metavar="SIZE", help="Most memory of each device for each model, such as 20G."),
    ] = None,
    threads: Annotated[
        int | None, Option(min=1, max=512, help="Threads of the processor that compute.")
    ] = None,
) -> None:
    """Compute layers of a model for the localrun that started this command.

    It speaks over stdin and stdout, gives up its network where the system
    allows that, and ends with its stdin. `localrun help workers` explains it.

    Example: ssh gpu1 localrun worker --memory 20G
    """
    import os
    import sys

    from localrun.cli.internal.worker import start_worker
    from localrun.errors import UsageError
    from localrun.variables import read_size

    if sys.stdin.isatty() or sys.stdout.isatty():
        raise UsageError(
            "localrun worker speaks to another localrun, not to a terminal",
            hint='localrun serve --worker "ssh THIS_HOST"   on the other machine starts it',
        )
    size = read_size({"--memory": memory}, "--memory") if memory else None
    start_worker(device or os.environ.get("LOCALRUN_DEVICE", ""), size, threads)
