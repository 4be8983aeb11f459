"""Hidden command of a runner process."""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option


def runner(
    fd: Annotated[int | None, Option(help="File descriptor of the inherited socket.")] = None,
    device: Annotated[str, Option(help="Device of the layers.")] = "auto",
) -> None:
    """Run one model for the server; internal."""
    import logging
    import os

    from localrun.engine.llama.binding import load_binding
    from localrun.engine.llama.cuda_libraries import explained, prepare
    from localrun.logs import HarmlessFormatter, set_debug_level
    from localrun.settings import load_settings

    prepare()
    try:
        load_binding()
        from localrun.runner.main import run_runner
        from localrun.runner.saved_prompts import SavedPrompts
        from localrun.warm.transport import open_connection
    except (ImportError, OSError, RuntimeError) as error:  # a library of llama.cpp is missing
        raise explained(error, os.environ) from error

    handler = logging.StreamHandler()
    handler.setFormatter(HarmlessFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    settings = load_settings(os.environ)
    set_debug_level(settings.debug)
    saved = SavedPrompts(root=settings.prompts_dir, budget_bytes=settings.prompt_cache_bytes)
    connection = open_connection(fd)
    raise Exit(run_runner(connection, device, saved if settings.prompt_cache_bytes != 0 else None))
