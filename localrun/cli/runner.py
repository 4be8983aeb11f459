"""The hidden command by which the server starts a runner."""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option


def runner(
    fd: Annotated[int, Option(help="The inherited socket.")],
    device: Annotated[str, Option(help="What to put layers on.")] = "auto",
) -> None:
    """Hold one model for the server; not for people."""
    import logging
    import os

    from localrun.engine.runtime import explained, prepare

    prepare()
    try:
        from localrun.runner.main import run_runner
    except (ImportError, OSError, RuntimeError) as error:  # a library of llama.cpp is missing
        raise explained(error, os.environ) from error

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    raise Exit(run_runner(fd, device))
