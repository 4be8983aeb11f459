"""Options of quantizations, which `create` and `quantize` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from localrun.cli.completion import one_of
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.engine.quantizing.choices import QuantizeOptions

# the names of engine/quantizing/types.py, the largest first; a test holds them to it
QUANTIZATION_NAMES = (
    "F32 F16 BF16 Q8_0 MXFP4_MOE Q6_K Q5_1 Q5_K_M Q5_0 Q5_K_S Q4_1 Q4_K_M IQ4_NL Q4_K_S Q4_0 "
    "IQ4_XS Q3_K_L Q3_K_M IQ3_M IQ3_S Q3_K_S IQ3_XS IQ3_XXS Q2_K Q2_K_S IQ2_M IQ2_S Q2_0 IQ2_XS "
    "TQ2_0 IQ2_XXS TQ1_0 IQ1_M IQ1_S Q1_0"
)
complete_type = one_of(QUANTIZATION_NAMES.split())

TensorTypes = Annotated[
    list[str] | None,
    Option(
        "--tensor-type",
        metavar="PATTERN=TYPE",
        help="Type of the tensors whose names match a regular expression, such as attn_v=q8_0; may "
        "be repeated, the first match counts.",
    ),
]
Imatrix = Annotated[
    Path | None,
    Option(
        "--imatrix", metavar="FILE", help="Importance matrix, as `localrun imatrix` computes it."
    ),
]
OutputType = Annotated[
    str | None,
    Option("--output-tensor-type", metavar="TYPE", help="Type of the output tensor."),
]
EmbeddingType = Annotated[
    str | None,
    Option("--token-embedding-type", metavar="TYPE", help="Type of the table of tokens."),
]
Pure = Annotated[
    bool, Option("--pure", help="Give all tensors the same type: no mixture, no exceptions.")
]
Requantize = Annotated[
    bool,
    Option(
        "--requantize",
        "--allow-requantize",
        help="Allow quantizing weights that are already quantized.",
    ),
]

ChunkSize = Annotated[
    int, Option("--ctx", min=32, max=8192, metavar="TOKENS", help="Tokens of a chunk.")
]
Chunks = Annotated[
    int | None, Option("--chunks", min=1, help="Chunks to read at most. Default: all of the text.")
]
Threads = Annotated[
    int, Option("--threads", min=0, max=1024, help="Number of threads; 0: all cores.")
]


def list_types(name: str | None) -> str | None:
    """Print the types for ``help`` in place of a type, and exit."""
    if name == "help":
        show_types(Output())
        raise Exit
    return name


def show_types(output: Output) -> None:
    """Print the quantization types, largest first."""
    from localrun.engine.quantizing.types import QUANTIZATIONS

    rows = []
    for kind in QUANTIZATIONS:
        note = "needs an importance matrix" if kind.needs_imatrix else kind.note
        rows.append((kind.name, f"{kind.bits_per_weight:.2f}", note))
    output.table(("TYPE", "BITS PER WEIGHT", "NOTE"), rows)


def parse_quantize_options(
    *,
    tensor_types: list[str] | None,
    imatrix: Path | None,
    output_type: str | None,
    embedding_type: str | None,
    pure: bool,
    requantize: bool,
) -> QuantizeOptions:
    """Return the options of a quantization.

    Raises:
        UsageError: a pattern or a type is not valid.
    """
    from localrun.engine.quantizing.choices import QuantizeOptions

    return QuantizeOptions.parse(
        tensor_types=tensor_types or (),
        imatrix=imatrix,
        output_type=output_type,
        embedding_type=embedding_type,
        is_pure=pure,
        allows_quantized=requantize,
    )
