"""``localrun create``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from localrun.cli.completion import one_of
from localrun.cli.options import AsJson, RecipeArguments, parse_arguments
from localrun.cli.output import Output, human_bytes

if TYPE_CHECKING:
    from localrun.services.creating.create import Created
    from localrun.store.adopt import AdoptMode


# the names of engine/llama/quantize.py, the largest first; a test holds it to them
QUANTIZATION_NAMES = (
    "F32 F16 BF16 Q8_0 MXFP4_MOE Q6_K Q5_1 Q5_K_M Q5_0 Q5_K_S Q4_1 Q4_K_M IQ4_NL Q4_K_S Q4_0 "
    "IQ4_XS Q3_K_L Q3_K_M IQ3_M IQ3_S Q3_K_S IQ3_XS IQ3_XXS Q2_K Q2_K_S IQ2_M IQ2_S Q2_0 IQ2_XS "
    "TQ2_0 IQ2_XXS TQ1_0 IQ1_M IQ1_S Q1_0"
)


def _list_quantizations(quantize: str | None) -> str | None:
    """Handle ``-q help``, which needs no model name."""
    if quantize == "help":
        show_quantizations(Output())
        raise Exit
    return quantize


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
            callback=_list_quantizations,
            autocompletion=one_of(QUANTIZATION_NAMES.split()),
            is_eager=True,
        ),
    ] = None,
    requantize: Annotated[
        bool, Option("--requantize", help="Allow quantizing weights that are already quantized.")
    ] = False,
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
    from localrun.engine.llama.quantize import quantization
    from localrun.names.parse import parse_name
    from localrun.services.creating.create import CreateOptions, create_model
    from localrun.services.creating.recipe_files import read_recipe
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    if quantize is not None:
        quantization(quantize)  # raises before any file is read
    options = CreateOptions(
        quantize=quantize,
        is_requantizing=requantize,
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
    _show(created, output)


def show_quantizations(output: Output) -> None:
    """Print the quantization types, largest first."""
    from localrun.engine.llama.quantize import QUANTIZATIONS

    rows = []
    for kind in QUANTIZATIONS:
        note = "needs an importance matrix" if kind.needs_imatrix else kind.note
        rows.append((kind.name, f"{kind.bits_per_weight:.2f}", note))
    output.table(("TYPE", "BITS PER WEIGHT", "NOTE"), rows)


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


def _show(created: Created, output: Output) -> None:
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
