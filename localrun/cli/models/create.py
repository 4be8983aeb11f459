"""``localrun create``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson, RecipeArguments, parse_arguments
from localrun.cli.output import Output, human_bytes
from localrun.cli.quantizing.options import (
    QUANTIZATION_NAMES,
    EmbeddingType,
    Imatrix,
    OutputType,
    Pure,
    Requantize,
    TensorTypes,
    complete_type,
    list_types,
    parse_quantize_options,
)

if TYPE_CHECKING:
    from localrun.services.creating.create import Created
    from localrun.store.adopt import AdoptMode


def create(  # noqa: PLR0913 - one parameter a flag
    name: Annotated[str, Argument(help="Name of the new model.")],
    *,
    file: Annotated[
        str | None,
        Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Modelfile; - reads stdin. Default: ./Modelfile, else weights in this folder.",
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        Option(
            "--quantize",
            "-q",
            metavar="TYPE",
            help="Quantize the weights; `-q help` lists the types with their bits per weight. "
            f"Largest first: {QUANTIZATION_NAMES}.",
            callback=list_types,
            autocompletion=complete_type,
            is_eager=True,
        ),
    ] = None,
    tensor_type: TensorTypes = None,
    imatrix: Imatrix = None,
    output_tensor_type: OutputType = None,
    token_embedding_type: EmbeddingType = None,
    pure: Pure = False,
    requantize: Requantize = False,
    copy: Annotated[
        bool, Option("--copy", help="Copy local files, even if they could be shared.")
    ] = False,
    link: Annotated[
        bool, Option("--link", help="Link local files into the store, or fail.")
    ] = False,
    move: Annotated[bool, Option("--move", help="Move local files into the store.")] = False,
    arg: RecipeArguments = None,
    as_json: AsJson = False,
) -> None:
    """Create a model from a Modelfile: base, parameters, system prompt, adapters.

    Files are shared with the store if the file system supports it, and never
    changed. `localrun lint` checks a Modelfile without creating a model.

    Examples:
    localrun create reviewer -f modelfiles/reviewer.Modelfile

    localrun create small -f Modelfile -q Q4_K_M
    """
    import os

    from localrun.cli.progress import shown_progress
    from localrun.engine.quantizing.choices import QuantizeOptions
    from localrun.engine.quantizing.types import quantization
    from localrun.errors import UsageError
    from localrun.names.parse import parse_name
    from localrun.services.creating.create import CreateOptions, create_model
    from localrun.services.creating.recipe_files import read_recipe
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    quantize_options = parse_quantize_options(
        tensor_types=tensor_type,
        imatrix=imatrix,
        output_type=output_tensor_type,
        embedding_type=token_embedding_type,
        pure=pure,
        requantize=requantize,
    )
    if quantize is not None:
        quantization(quantize)  # raises before any file is read
    elif quantize_options != QuantizeOptions(allows_quantized=requantize):
        raise UsageError("options of tensors need a type", hint="--quantize Q4_K_M")
    options = CreateOptions(
        quantize=quantize,
        quantize_options=quantize_options,
        adopt_mode=_adopt_mode(copy=copy, link=link, move=move),
    )
    recipe, folder = read_recipe(file, parse_arguments(arg or []))
    with shown_progress(output) as report:
        created = create_model(
            open_workspace(os.environ),
            parse_name(name),
            recipe,
            folder=folder,
            options=options,
            report=report,
        )
    show_created(created, output)


def _adopt_mode(*, copy: bool, link: bool, move: bool) -> AdoptMode:
    from localrun.errors import UsageError
    from localrun.store.adopt import AdoptMode

    chosen = [
        mode
        for is_chosen, mode in (
            (copy, AdoptMode.COPY),
            (link, AdoptMode.LINK),
            (move, AdoptMode.MOVE),
        )
        if is_chosen
    ]
    if len(chosen) > 1:
        raise UsageError("--copy, --link and --move exclude each other")
    return chosen[0] if chosen else AdoptMode.AUTO


def show_created(created: Created, output: Output) -> None:
    """Print what was created."""
    from dataclasses import asdict

    if output.as_json:
        output.event({"event": "created", **asdict(created)})
        return
    bits = ""
    if created.bits_per_weight is not None:
        bits = (
            f", weights {human_bytes(created.weights_bytes)} "
            f"at {created.bits_per_weight:.2f} bits each"
        )
    verb = "created" if created.is_changed else "nothing changed in"
    output.line(f"{verb} {created.name}, {human_bytes(created.size_bytes)}{bits}")
    output.line(f"try it: localrun run {created.name.removesuffix(':latest')}")
