"""CSV, benchstat's lines, bars and the chart."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

from localrun.benchmarks.formats import BAR_WIDTH, bars, to_benchstat, to_csv, to_svg
from localrun.benchmarks.report import RATE, SECONDS, Report, Row

REPORT = Report(
    head={"processor": "a <b>", "threads": 2},
    rows=(
        Row(model="guide:latest", name="tg128 x4", unit=RATE, samples=(10.0, 20.0, 30.0)),
        Row(model="guide:latest", name="pp512", unit=RATE, samples=(40.0,)),
        Row(model="guide:latest", name="load", unit=SECONDS, samples=(0.5, 0.25)),
    ),
)
# https://go.dev/design/14313-benchmark-format
BENCHMARK = re.compile(r"Benchmark[^a-z]\S* \d+( \S+ \S+)+")
KEY = re.compile(r"[a-z]\S*: .+")


def test_csv_has_a_line_for_each_figure() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(REPORT))))

    assert [row["name"] for row in rows] == ["tg128 x4", "pp512", "load"]
    assert (rows[0]["median"], rows[0]["least"], rows[0]["most"]) == ("20", "10", "30")
    assert rows[0]["samples"] == "10 20 30"


def test_benchstat_gets_a_line_for_each_sample() -> None:
    lines = to_benchstat(REPORT).splitlines()

    assert all(KEY.fullmatch(line) for line in lines[:2])
    assert lines[2] == "Unit tokens/s better=higher"
    assert all(BENCHMARK.fullmatch(line) for line in lines[3:])
    assert len(lines) == 3 + 6
    assert "BenchmarkGuide:latest/tg128_x4 1 20 tokens/s" in lines


def test_benchstat_keeps_the_letters_of_models_and_gets_keys_in_small_letters() -> None:
    row = Row(model="hf.co/Qwen/Q:Q8_0", name="tg8", unit=RATE, samples=(1.0,))

    lines = to_benchstat(Report(head={"Qwen:Q8_0 context": 1}, rows=(row,))).splitlines()

    assert lines[0] == "qwen:q8_0_context: 1"
    assert lines[2] == "BenchmarkHf.co_Qwen_Q:Q8_0/tg8 1 1 tokens/s"


def test_bars_of_one_unit_have_one_scale() -> None:
    lengths = {name: len(bar) for _, name, bar in bars(REPORT.rows)}

    assert lengths == {"tg128 x4": BAR_WIDTH // 2, "pp512": BAR_WIDTH, "load": BAR_WIDTH}


def test_the_chart_is_svg_and_asks_nobody() -> None:
    chart = to_svg(REPORT)

    assert ET.fromstring(chart).tag.endswith("svg")  # noqa: S314 - our own
    assert b"<script" not in chart.replace(b'<script type="text/javascript">window.pygal', b"")
    assert not re.search(rb'(?:href|src)="(?:https?:)?//', chart)
