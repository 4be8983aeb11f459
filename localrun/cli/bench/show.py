"""Reports of ``bench`` on the screen and in files."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from localrun.benchmarks.formats import bars, to_benchstat, to_csv, to_svg
from localrun.benchmarks.report import BYTES, SECONDS
from localrun.cli.output import human_bytes
from localrun.cli.serving.result_file import write_result
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from localrun.benchmarks.comparison import FigureChange, PairedRow
    from localrun.benchmarks.report import Report, Row
    from localrun.cli.output import Output


class OutputForm(Enum):
    """What a report is printed as."""

    TABLE = auto()
    JSON = auto()
    CSV = auto()
    BENCHSTAT = auto()

    @classmethod
    def of(cls, *, as_json: bool, as_csv: bool, as_benchstat: bool) -> OutputForm:
        """Return the form of some options.

        Raises:
            UsageError: several are given.
        """
        given = {cls.JSON: as_json, cls.CSV: as_csv, cls.BENCHSTAT: as_benchstat}
        chosen = [form for form, is_given in given.items() if is_given]
        if len(chosen) > 1:
            raise UsageError("--json, --csv and --benchstat exclude each other")
        return chosen[0] if chosen else cls.TABLE


def show_report(
    report: Report,
    form: OutputForm,
    output: Output,
    changes: Sequence[FigureChange] | None = None,
) -> None:
    """Print a report; JSON has the changes since an earlier one, if there is one."""
    if form is OutputForm.JSON:
        compared = {} if changes is None else {"changes": [_change_json(each) for each in changes]}
        output.json(report.to_json() | compared)
    elif form is OutputForm.CSV:
        output.text(to_csv(report))
    elif form is OutputForm.BENCHSTAT:
        output.text(to_benchstat(report))
    else:
        _show_table(report, output)


def write_files(report: Report, *, save: Path | None, plot: Path | None) -> None:
    """Write the files that were asked for.

    Raises:
        StorageError: one cannot be written.
    """
    import json

    if save is not None:
        write_result(save, json.dumps(report.to_json(), indent=1) + "\n")
    if plot is not None:
        write_result(plot, to_svg(report).decode())


def show_pairs(pairs: Mapping[str, Sequence[PairedRow]], output: Output) -> None:
    """Print a comparison of two servers."""
    if output.as_json:
        output.json(
            {
                model: [
                    {
                        "name": row.name,
                        "unit": row.unit,
                        "here": list(row.first),
                        "there": list(row.second),
                        "ratio": row.ratio,
                        "p": row.p,
                    }
                    for row in rows
                ]
                for model, rows in pairs.items()
            }
        )
        return
    table = [
        (
            model,
            row.name,
            _figure(_median(row.first), row.unit),
            _figure(_median(row.second), row.unit),
            f"{row.ratio:.2f}",
            f"{row.p:.3f}",
        )
        for model, rows in pairs.items()
        for row in rows
    ]
    output.table(("MODEL", "FIGURE", "HERE", "THERE", "RATIO", "P"), table)
    output.line("ratio: over 1, this server is better; p: sign test over the pairs")


def show_changes(changes: Sequence[FigureChange], form: OutputForm, output: Output) -> bool:
    """Print what has changed since an earlier report; return whether something is worse.

    The table is printed below a table only: the lines of other forms are read by programs.
    """
    is_worse = any(change.is_regression for change in changes)
    rows = [
        (
            change.now.model,
            change.now.name,
            _figure(change.before.median, change.now.unit),
            _figure(change.now.median, change.now.unit),
            f"{change.ratio:.2f}",
            f"±{100 * change.noise:.0f} %",
            _verdict(change),
        )
        for change in changes
    ]
    if form is OutputForm.TABLE:
        output.line("")
        output.table(("MODEL", "FIGURE", "BEFORE", "NOW", "RATIO", "NOISE", ""), rows)
    if is_worse:
        worse = [change.now.name for change in changes if change.is_regression]
        output.note(f"worse than before: {', '.join(worse)}")
    return is_worse


def _show_table(report: Report, output: Output) -> None:
    for name, value in report.head.items():
        output.line(f"{name}: {value}")
    output.line("")
    drawn = {(model, name): bar for model, name, bar in bars(report.rows)}
    rows = [
        (
            row.model,
            row.name,
            _figure(row.median, row.unit),
            f"±{100 * row.spread:.1f} %",
            _range(row),
            drawn[row.key] if row.is_rate else "",
        )
        for row in report.rows
    ]
    output.table(("MODEL", "FIGURE", "MEDIAN", "SPREAD", "RANGE", ""), rows)


def _change_json(change: FigureChange) -> dict[str, Any]:
    return {
        "model": change.now.model,
        "name": change.now.name,
        "before": change.before.median,
        "now": change.now.median,
        "ratio": change.ratio,
        "noise": change.noise,
        "verdict": _verdict(change),
    }


def _range(row: Row) -> str:
    least, most = min(row.samples), max(row.samples)
    return "" if least == most else f"{_number(least, row.unit)} to {_number(most, row.unit)}"


def _figure(value: float, unit: str) -> str:
    if unit == BYTES:
        return human_bytes(round(value))
    return f"{_number(value, unit)} {'ms' if unit == SECONDS else unit}"


def _number(value: float, unit: str) -> str:
    if unit == BYTES:
        return human_bytes(round(value))
    return f"{1000 * value:.1f}" if unit == SECONDS else f"{value:.1f}"


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values)


def _verdict(change: FigureChange) -> str:
    if change.is_regression:
        return "worse"
    return "better" if change.is_improvement else ""
