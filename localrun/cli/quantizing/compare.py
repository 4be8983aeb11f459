"""The comparison of ``localrun quantize --compare``: a table, or JSON."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output, human_bytes
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.engine.measuring.perplexity import Measure, MeasuredText
    from localrun.engine.quantizing.choices import QuantizeOptions
    from localrun.services.quantizing.comparing import ComparedType, Comparison

HEADS = (
    "TYPE", "SIZE", "BITS", "PERPLEXITY", "KL DIVERGENCE", "KL 99 %", "SAME TOP TOKEN",
    "PROMPT", "ANSWER",
)  # fmt: skip
LEGEND = (
    "perplexity: lower is better. KL divergence: how far predictions are from the model's, in nats;"
    "\n99 % of the positions have less than the next column. Prompt and answer in tokens/s on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """What computes: 0 threads are all cores; the device is that of the settings if None."""

    threads: int
    device: str | None


def show_comparison(
    model: str,
    types: str,
    text: MeasuredText | None,
    options: QuantizeOptions,
    computing: Computing,
    output: Output,
) -> None:
    """Compare quantizations of a model and print the figures.

    Raises:
        UsageError: there is no text, or a type is not valid.
    """
    from localrun.cli.progress import shown_progress
    from localrun.services.quantizing.comparing import compare_quantizations
    from localrun.services.workspace import open_workspace

    if text is None:
        raise UsageError(
            "--compare needs a text that the types are measured on",
            hint="--text FILE   of some ten thousand words, such as the raw text of WikiText",
        )
    names = [name.strip() for name in types.split(",") if name.strip()]
    with shown_progress(output) as report:
        comparison = compare_quantizations(
            open_workspace(os.environ),
            model,
            names,
            text,
            options=options,
            threads=computing.threads,
            device=computing.device,
            report=report,
        )
    if output.as_json:
        output.event({"event": "compared", **_as_json(comparison)})
        return
    output.line(
        f"{comparison.model} on {comparison.num_chunks} chunks of {comparison.chunk_size} tokens "
        f"of {comparison.text}, {comparison.num_tokens} scored"
    )
    output.line("")
    output.table(HEADS, [_row(row) for row in comparison.rows])
    output.line("")
    devices = dict.fromkeys(name for row in comparison.rows for name in row.measured.devices)
    for line in f"{LEGEND} {', '.join(devices)}.".split("\n"):
        output.line(line)


def _row(row: ComparedType) -> tuple[str, ...]:
    measured = row.measured
    same = measured.same_top
    return (
        f"{row.name} (source)" if row.is_source else row.name,
        human_bytes(row.size_bytes),
        f"{row.bits_per_weight:.2f}",
        _measure(measured.perplexity, 4),
        _measure(measured.divergence, 5),
        "" if measured.divergence_99 is None else f"{measured.divergence_99:.4f}",
        "" if same is None else f"{100 * same.value:.2f} ± {100 * same.error:.2f} %",
        f"{measured.prompt_tokens_per_s:.0f}",
        f"{measured.answer_tokens_per_s:.1f}",
    )


def _measure(measure: Measure | None, digits: int) -> str:
    return "" if measure is None else f"{measure.value:.{digits}f} ± {measure.error:.{digits}f}"


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "model": comparison.model,
        "text": comparison.text,
        "chunk_size": comparison.chunk_size,
        "num_chunks": comparison.num_chunks,
        "num_tokens": comparison.num_tokens,
        "types": [_type_json(row) for row in comparison.rows],
    }


def _type_json(row: ComparedType) -> dict[str, Any]:
    measured = row.measured
    return {
        "type": row.name,
        "is_source": row.is_source,
        "size_bytes": row.size_bytes,
        "bits_per_weight": row.bits_per_weight,
        "perplexity": _pair(measured.perplexity),
        "kl_divergence": _pair(measured.divergence),
        "kl_divergence_99": measured.divergence_99,
        "same_top_token": _pair(measured.same_top),
        "prompt_tokens_per_s": measured.prompt_tokens_per_s,
        "answer_tokens_per_s": measured.answer_tokens_per_s,
        "devices": list(measured.devices),
    }


def _pair(measure: Measure | None) -> dict[str, float] | None:
    return None if measure is None else {"value": measure.value, "error": measure.error}
