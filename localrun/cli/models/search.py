"""``localrun search``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes

FITS = {True: "yes", False: "no", None: "?"}


def search(
    text: Annotated[str, Argument(help="Search text, such as qwen3 or coder.")],
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of results.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Search Hugging Face and ModelScope for GGUF models.

    Prints the size of the default quantization and whether it fits this machine.

    Example: localrun search qwen3
    """
    import os
    from dataclasses import asdict

    import psutil

    from localrun.cli.prompt import as_text
    from localrun.services.search import search_models
    from localrun.services.workspace import open_workspace

    memory = psutil.virtual_memory().total
    text = as_text(text, "the search text")
    results = search_models(open_workspace(os.environ), text, limit, memory)
    output = Output(as_json=as_json)
    for problem in results.problems:
        output.note(f"warning: {problem}")
    if as_json:
        output.json([asdict(hit) for hit in results.hits])
        return
    if not results.hits:
        output.note(f"nothing found for {text}")
        return
    rows = [
        (
            hit.name,
            hit.quantization or "?",
            "?" if hit.size_bytes is None else human_bytes(hit.size_bytes),
            FITS[hit.fits],
            f"{hit.downloads:,}",
        )
        for hit in results.hits
    ]
    output.table(("NAME", "DEFAULT", "SIZE", "FITS", "DOWNLOADS"), rows)
