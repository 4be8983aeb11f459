"""``localrun lock``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.output import Output


def lock(
    models: Annotated[list[str] | None, Argument(metavar="MODEL", help="Only these.")] = None,
) -> None:
    """Write down the exact bytes of the pulled models, as JSON, for `pull --locked`.

    Models that were made or imported here are left out: push them, and lock what was pulled.

    Example: localrun lock > models.lock
    """
    import os

    from localrun.services.pulling.lock import make_lock
    from localrun.services.workspace import open_workspace

    workspace, output = open_workspace(os.environ), Output()
    locked = make_lock(workspace, models or ())
    output.json(locked)
    if not models:
        own = [entry.ref.name for entry in workspace.store.entries()]
        left = [name for name in own if name not in locked["models"]]
        if left:
            output.note(f"not in the lock, for they were not pulled: {', '.join(left)}")
