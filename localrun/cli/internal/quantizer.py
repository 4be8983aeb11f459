"""Hidden command of the child process of `localrun.engine.llama.quantize`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Exit, Option


def quantizer(
    source: Annotated[str, Argument(help="GGUF file to read.")],
    output: Annotated[str, Argument(help="GGUF file to write.")],
    file_type: Annotated[int, Argument(help="llama.cpp's number of the quantization type.")],
    *,
    threads: Annotated[int, Option(help="Number of threads; 0: all cores.")] = 0,
    requantize: Annotated[bool, Option(help="Accept a quantized source.")] = False,
) -> None:
    """Quantize one file for another localrun process; internal."""
    from localrun.engine.llama.cuda_libraries import prepare

    prepare()
    from localrun.engine.llama.quantize_child import QuantizeJob, run_quantizer

    job = QuantizeJob(
        source=source, output=output, file_type=file_type, requantize=requantize, threads=threads
    )
    raise Exit(run_quantizer(job))
