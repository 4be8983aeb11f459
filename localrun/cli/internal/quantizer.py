"""The hidden command by which `localrun.engine.llama.quantize` starts its child."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Exit, Option


def quantizer(
    source: Annotated[str, Argument(help="A GGUF file.")],
    output: Annotated[str, Argument(help="The file to write.")],
    file_type: Annotated[int, Argument(help="llama.cpp's number of the type.")],
    *,
    threads: Annotated[int, Option(help="0 takes all cores.")] = 0,
    requantize: Annotated[bool, Option(help="Take a quantized source too.")] = False,
) -> None:
    """Quantize one file for another localrun process; not for people."""
    from localrun.engine.llama.cuda_libraries import prepare

    prepare()
    from localrun.engine.llama.quantize_child import QuantizeJob, run_quantizer

    job = QuantizeJob(
        source=source, output=output, file_type=file_type, requantize=requantize, threads=threads
    )
    raise Exit(run_quantizer(job))
