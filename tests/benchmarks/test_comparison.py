"""Ratios, sign tests and regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.benchmarks.comparison import PairedRow, changes, sign_test
from localrun.benchmarks.report import RATE, SECONDS, Report, Row, read_report
from localrun.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


BEGIN = '{"format_version": 1, "head": {}, "rows": [{"model": "m", "name": "n", '


def row(*samples: float, unit: str = RATE, name: str = "tg128", model: str = "m") -> Row:
    return Row(model=model, name=name, unit=unit, samples=samples)


def paired(first: list[float], second: list[float], *, is_rate: bool = True) -> PairedRow:
    return PairedRow(name="x", unit=RATE, first=tuple(first), second=tuple(second), is_rate=is_rate)


def test_median_and_spread() -> None:
    assert (row(1, 2, 9).median, row(1, 2, 9).spread) == (2, 0.5)
    assert row(0, 0).spread == 0


def test_a_ratio_over_one_is_better_for_rates_and_times() -> None:
    assert paired([20, 30], [10, 10]).ratio == 2.5
    assert paired([10, 10], [20, 30], is_rate=False).ratio == 2.5


@pytest.mark.parametrize(
    ("differences", "p"),
    [([], 1.0), ([1, -1], 1.0), ([1] * 5, 0.0625), ([0, 1, 1, 1], 0.25), ([-1] * 10, 2 / 1024)],
)
def test_the_sign_test(differences: list[float], p: float) -> None:
    assert sign_test(differences) == pytest.approx(p)


@given(st.lists(st.floats(-5, 5)))
def test_the_sign_test_knows_no_side(differences: list[float]) -> None:
    assert 0 < sign_test(differences) <= 1
    assert sign_test(differences) == sign_test([-each for each in differences])


@pytest.mark.parametrize(
    ("before", "now", "is_worse", "is_better"),
    [
        (row(100, 101, 99), row(90, 91, 89), True, False),
        (row(100, 101, 99), row(97, 98, 96), False, False),  # under 5 %
        (row(100, 120, 80), row(70, 90, 50), False, False),  # noise
        (row(100, 100), row(120, 120), False, True),
        (row(1.0, 1.0, unit=SECONDS), row(1.2, 1.2, unit=SECONDS), True, False),
        (row(1.0, 1.0, unit=SECONDS), row(0.8, 0.8, unit=SECONDS), False, True),
    ],
)
def test_worse_is_more_than_noise_explains(
    before: Row,
    now: Row,
    is_worse: bool,  # noqa: FBT001 - of parametrize
    is_better: bool,  # noqa: FBT001 - of parametrize
) -> None:
    (change,) = changes(Report(rows=(before,)), Report(rows=(now,)))

    assert (change.is_regression, change.is_improvement) == (is_worse, is_better)


def test_only_the_same_figures_of_the_same_models_are_compared() -> None:
    before = Report(rows=(row(1), row(1, name="pp512"), row(1, name="load", unit=SECONDS)))
    now = Report(rows=(row(2), row(2, model="other"), row(2, name="load")))

    assert [change.now.name for change in changes(before, now)] == ["tg128"]


def test_a_saved_report_is_read_again(tmp_path: Path) -> None:
    import json

    report = Report(head={"threads": 2}, rows=(row(1, 2, 3),))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report.to_json()))

    assert read_report(path) == report


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format_version": 2}',
        '{"format_version": 1, "head": {}, "rows": [{}]}',
        BEGIN + '"unit": "s", "samples": []}]}',
        BEGIN + '"unit": "x", "samples": [1]}]}',
        BEGIN + '"unit": "s", "samples": [NaN]}]}',
        BEGIN + '"unit": "s", "samples": [-1]}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)

    with pytest.raises(UsageError):
        read_report(path)


def test_a_report_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nothing\.json"):
        read_report(tmp_path / "nothing.json")
