"""``localrun lock``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.output import Output


def lock(
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="MODEL", help="Models to lock; default: all.", autocompletion=complete_model
        ),
    ] = None,
) -> None:
    """Print a lock file of the pulled models, as JSON, for `pull --locked`.

    Models that were created or imported on this machine are left out: push
    and pull them first.

    Example: localrun lock > models.lock
    """
    import os

    from localrun.services.pulling.lock import make_lock
    from localrun.services.workspace import open_workspace

    workspace, output = open_workspace(os.environ), Output()
    locked = make_lock(workspace, models or ())
    output.json(locked)
    if not models:
        names = [entry.ref.name for entry in workspace.store.entries()]
        unlocked = [name for name in names if name not in locked["models"]]
        if unlocked:
            output.note(f"not locked because they were not pulled: {', '.join(unlocked)}")
