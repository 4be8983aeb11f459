"""``localrun quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, DeviceOption
from localrun.cli.output import Output
from localrun.cli.quantizing.options import (
    ChunkSize,
    EmbeddingType,
    Imatrix,
    OutputType,
    Pure,
    Requantize,
    TensorTypes,
    Threads,
    complete_type,
    list_types,
    parse_quantize_options,
)


def quantize(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str, Argument(help="Name of a local model, or a GGUF file.", autocompletion=complete_model)
    ],
    type_name: Annotated[
        str | None,
        Argument(
            metavar="TYPE",
            help="Type such as Q4_K_M; `help` lists the types with their bits per weight.",
            callback=list_types,
            autocompletion=complete_type,
        ),
    ] = None,
    *,
    name: Annotated[
        str | None,
        Option("--name", "-o", metavar="NEW", help="Name of the result. Default: MODEL-TYPE."),
    ] = None,
    tensor_type: TensorTypes = None,
    imatrix: Imatrix = None,
    output_tensor_type: OutputType = None,
    token_embedding_type: EmbeddingType = None,
    pure: Pure = False,
    requantize: Requantize = False,
    compare: Annotated[
        str | None,
        Option(
            "--compare",
            metavar="TYPES",
            help="Make no copy: measure these types on --text, such as Q4_K_M,Q5_K_M,Q8_0. The "
            "name of another local model measures that as well.",
        ),
    ] = None,
    text: Annotated[
        Path | None, Option("--text", metavar="FILE", help="Plain text for --compare.")
    ] = None,
    ctx: ChunkSize = 512,
    chunks: Annotated[
        int, Option("--chunks", min=1, help="Chunks that --compare reads at most.")
    ] = 40,
    threads: Threads = 0,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a smaller copy of a model by storing its weights in fewer bits.

    The copy has the recipe of the model. Tensors that a family needs at a
    higher precision keep it; `localrun show` lists them. With --compare it
    prints size, perplexity, divergence from the model and speed of each type.

    Examples:
    localrun quantize qwen3:4b-bf16 Q4_K_M

    localrun quantize ./model-f16.gguf IQ3_XXS --imatrix model.imatrix.gguf -o small

    localrun quantize qwen3:4b-bf16 --compare Q4_K_M,Q5_K_M,Q8_0 --text wiki.txt
    """
    import os

    from localrun.cli.models.create import show_created
    from localrun.cli.progress import shown_progress
    from localrun.cli.quantizing.compare import Computing, show_comparison
    from localrun.engine.measuring.perplexity import MeasuredText
    from localrun.errors import UsageError
    from localrun.services.quantizing.quantizing import quantize_model
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    options = parse_quantize_options(
        tensor_types=tensor_type,
        imatrix=imatrix,
        output_type=output_tensor_type,
        embedding_type=token_embedding_type,
        pure=pure,
        requantize=requantize,
    )
    if compare is not None:
        if type_name is not None or name is not None:
            raise UsageError("--compare makes no copy, so that it takes no TYPE and no --name")
        part = None if text is None else MeasuredText(path=text, chunk_size=ctx, most_chunks=chunks)
        computing = Computing(threads=threads, device=device)
        show_comparison(model, compare, part, options, computing, output)
        return
    if text is not None:
        raise UsageError("--text is for --compare", hint="--compare Q4_K_M,Q8_0 --text FILE")
    if type_name is None:
        raise UsageError(
            "a type is missing", hint=f"localrun quantize {model} Q4_K_M; `help` lists the types"
        )
    with shown_progress(output) as report:
        created = quantize_model(
            open_workspace(os.environ),
            model,
            type_name,
            new_name=name,
            options=options,
            report=report,
        )
    show_created(created, output)
