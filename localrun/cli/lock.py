"""``localrun lock``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.output import Output


def lock(
    models: Annotated[list[str] | None, Argument(metavar="[MODEL...]", help="Only these.")] = None,
) -> None:
    """Write down the exact bytes of the pulled models, as JSON, for `pull --locked`.

    Example: localrun lock > models.lock
    """
    import os

    from localrun.services.lock import make_lock
    from localrun.services.workspace import open_workspace

    Output().json(make_lock(open_workspace(os.environ), models or ()))
