"""Report of a benchmark: what was measured, on what, and each sample.

{"format_version": 1, "head": {…}, "rows": [{"model": "guide", "name": "tg128",
 "unit": "tokens/s", "samples": [812.4, 815.0]}]}
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT_VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
RATE, SECONDS, BYTES = "tokens/s", "s", "bytes"
UNITS = (RATE, SECONDS, BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one model, in the samples of all rounds."""

    model: str
    name: str  # "pp512", "tg128 x4", "first token, warm"
    unit: str
    samples: tuple[float, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies the row in a report."""
        return self.model, self.name

    @property
    def is_rate(self) -> bool:
        """Return whether more is better."""
        return self.unit == RATE

    @property
    def median(self) -> float:
        """Return the median of the samples."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Return the median distance of a sample from the median, as a share of it."""
        median = self.median
        if not median:
            return 0.0
        return statistics.median(abs(sample - median) for sample in self.samples) / median


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All rows, and the facts that they depend on."""

    head: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        rows = [{**asdict(row), "median": row.median, "spread": row.spread} for row in self.rows]
        return {"format_version": FORMAT_VERSION, "head": dict(self.head), "rows": rows}


def read_report(path: Path) -> Report:
    """Return a report that was saved.

    Raises:
        UsageError: the file is none.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_BYTES))
        if value["format_version"] != FORMAT_VERSION:
            raise UsageError(
                f"{path.name} is a report of another version of localrun",
                hint="localrun bench MODEL --save FILE   writes a new one",
            )
        return Report(head=dict(value["head"]), rows=tuple(_row(each) for each in value["rows"]))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{path.name} is no report", hint="localrun bench MODEL --save FILE   writes one"
        ) from error


def _row(value: dict[str, Any]) -> Row:
    samples = tuple(float(sample) for sample in value["samples"])
    if not samples or value["unit"] not in UNITS:
        raise ValueError("a row without samples, or of an unknown unit")
    if not all(math.isfinite(sample) and sample >= 0 for sample in samples):
        raise ValueError("a sample that is no measurement")
    return Row(
        model=str(value["model"]), name=str(value["name"]), unit=value["unit"], samples=samples
    )
