"""Formats of a report: CSV, the lines of Go's benchmarks that benchstat reads, and charts."""

from __future__ import annotations

import csv
import io
import re
import sys
from typing import TYPE_CHECKING

from localrun.benchmarks.report import RATE, UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.benchmarks.report import Report, Row

BAR_WIDTH = 40
BAR, HALF_BAR = "█", "▌"
BENCHSTAT_UNITS = {"s": "sec/op", "bytes": "B", RATE: "tokens/s"}
CSV_HEADS = ("model", "name", "unit", "median", "spread", "least", "most", "samples")


def to_csv(report: Report) -> str:
    """Return a report as CSV, a line for each figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADS)
    for row in report.rows:
        samples = " ".join(f"{sample:g}" for sample in row.samples)
        least, most = min(row.samples), max(row.samples)
        figures = [f"{value:g}" for value in (row.median, row.spread, least, most)]
        writer.writerow([row.model, row.name, row.unit, *figures, samples])
    return text.getvalue()


def to_benchstat(report: Report) -> str:
    """Return a report in the lines of Go's benchmarks, one for each sample.

    The format is that of https://go.dev/design/14313-benchmark-format.
    """
    lines = [f"{_go_name(name).lower()}: {value}" for name, value in report.head.items()]
    lines.append(f"Unit {RATE} better=higher")
    for row in report.rows:
        model = row.model[:1].upper() + row.model[1:]  # a small letter would end the prefix
        name = f"Benchmark{_go_name(model, row.name)}"
        unit = BENCHSTAT_UNITS[row.unit]
        lines += [f"{name} 1 {sample:g} {unit}" for sample in row.samples]
    return "\n".join(lines) + "\n"


def bars(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Return model, name and bar of each figure; bars of one unit have one scale."""
    largest = {unit: max((row.median for row in rows if row.unit == unit), default=0.0)
               for unit in UNITS}  # fmt: skip
    return [(row.model, row.name, _bar(row.median, largest[row.unit])) for row in rows]


def to_svg(report: Report) -> bytes:
    """Return charts of the rates and of the times, as one SVG of pygal."""
    import pygal  # lazy: its home

    # pygal adds a finder for its plugins that Python warns of at each import
    own = [finder for finder in sys.meta_path if type(finder).__module__.startswith("pygal")]
    for finder in own:
        sys.meta_path.remove(finder)
    rates = [row for row in report.rows if row.unit == RATE]
    chart = pygal.HorizontalBar(
        title="tokens/s", print_values=True, width=900, height=120 + 40 * len(rates), js=[]
    )
    names = list(dict.fromkeys(row.name for row in rates))
    chart.x_labels = names
    for model in dict.fromkeys(row.model for row in rates):
        medians = {row.name: row.median for row in rates if row.model == model}
        chart.add(model, [round(medians[name], 2) if name in medians else None for name in names])
    content: bytes = chart.render()
    return content


def _bar(value: float, largest: float) -> str:
    width = round(2 * BAR_WIDTH * value / largest) if largest else 0
    return BAR * (width // 2) + (HALF_BAR if width % 2 else "")


def _go_name(*parts: str) -> str:
    """Return a name without blanks; parts are separated by slashes."""
    return "/".join(re.sub(r"[^\w.:+-]+", "_", part).strip("_") for part in parts)
