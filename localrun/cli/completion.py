"""Completion of names of models by the shell's Tab key."""

from __future__ import annotations

LATEST = ":latest"


def complete_model(incomplete: str) -> list[str]:
    """Return the names of local models that begin with a text; without ``:latest`` where possible.

    Prints nothing: the user is still typing.
    """
    import logging
    import os

    from localrun.errors import LocalrunError
    from localrun.services.workspace import open_workspace

    logging.disable()
    try:
        known = open_workspace(os.environ).models.names()
    except (LocalrunError, OSError):
        return []
    names = [name for name in known if name.startswith(incomplete)]
    return [name.removesuffix(LATEST) if ":" not in incomplete else name for name in names]
