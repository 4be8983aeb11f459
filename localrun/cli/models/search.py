"""``localrun search``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes

FITS = {True: "yes", False: "no", None: "?"}


def search(
    text: Annotated[str, Argument(help="What to look for, such as qwen3 or coder.")],
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Show at most this many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Look for GGUF models on Hugging Face and ModelScope.

    Tells the size of what a pull without a tag takes, and whether it fits this machine.

    Example: localrun search qwen3
    """
    import os
    from dataclasses import asdict

    import psutil

    from localrun.cli.prompt import as_text
    from localrun.services.search import search_models
    from localrun.services.workspace import open_workspace

    memory = psutil.virtual_memory().total
    text = as_text(text, "what to look for")
    found = search_models(open_workspace(os.environ), text, limit, memory)
    output = Output(as_json=as_json)
    for problem in found.problems:
        output.note(f"warning: {problem}")
    if as_json:
        output.json([asdict(hit) for hit in found.hits])
        return
    if not found.hits:
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
        for hit in found.hits
    ]
    output.table(("NAME", "DEFAULT", "SIZE", "FITS", "DOWNLOADS"), rows)
