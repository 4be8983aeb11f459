"""``localrun imatrix``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, DeviceOption
from localrun.cli.output import Output
from localrun.cli.quantizing.options import Chunks, ChunkSize, Threads


def imatrix(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str, Argument(help="Name of a local model, or a GGUF file.", autocompletion=complete_model)
    ],
    text: Annotated[Path, Argument(help="File of plain text that the model reads.")],
    *,
    output_file: Annotated[
        Path | None,
        Option("--output", "-o", metavar="FILE", help="Default: MODEL.imatrix.gguf."),
    ] = None,
    ctx: ChunkSize = 512,
    chunks: Chunks = None,
    threads: Threads = 0,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Compute which columns of a model's weights matter, for `quantize --imatrix`.

    The model reads the text in chunks. An interrupted command goes on where
    it was when it is typed again. The file is in the format of llama.cpp.

    Example: localrun imatrix qwen3:4b-bf16 wiki.txt --chunks 100
    """
    import os
    from dataclasses import asdict

    from localrun.cli.progress import shown_progress
    from localrun.services.quantizing.imatrix import ImatrixOptions, make_imatrix
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    options = ImatrixOptions(chunk_size=ctx, most_chunks=chunks, threads=threads, device=device)
    try:
        with shown_progress(output) as report:
            made = make_imatrix(
                open_workspace(os.environ),
                model,
                text,
                output=output_file,
                options=options,
                report=report,
            )
    except KeyboardInterrupt:
        output.note("interrupted; the same command goes on from the last sums that were saved")
        raise
    if as_json:
        output.event({"event": "imatrix", **asdict(made)})
        return
    output.line(f"wrote {made.path}: {made.num_tensors} tensors, {made.num_chunks} chunks")
    output.line(f"use it: localrun quantize {made.model} IQ3_XXS --imatrix {made.path}")
