"""``localrun bench`` on the embedded model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import make_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

QUICK = ("--rounds", "1", "--prompt", "32", "--gen", "8", "--parallel", "2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("bench"))
    yield found
    found.run("stop", "--server")


def test_a_report_is_saved_drawn_and_compared_with(home: Home, tmp_path: Path) -> None:
    saved, chart = tmp_path / "report.json", tmp_path / "chart.svg"

    done = home.run("bench", "guide", *QUICK, "--save", str(saved), "--plot", str(chart))

    assert done.returncode == 0, done.stderr
    report = json.loads(saved.read_text())
    assert {"processor", "digest", "device", "localrun", "engine"} <= report["head"].keys()
    assert "llama-cpp-python" in report["head"]["engine"]
    names = [row["name"] for row in report["rows"]]
    assert names == [
        "load", "first token, cold", "first token, warm", "first token, cached", "pp32", "tg8",
        "tg8 x2", "memory",
    ]  # fmt: skip
    assert chart.read_text().lstrip().startswith("<?xml")
    for row in report["rows"]:
        row["samples"] = [row["samples"][0] * (1e6 if row["unit"] == "tokens/s" else 1e-6)]
    saved.write_text(json.dumps(report))

    again = home.run("bench", "guide", *QUICK, "--against", str(saved))

    assert again.returncode == 1
    assert "worse than before" in again.stderr

    as_csv = home.run("bench", "guide", *QUICK, "--against", str(saved), "--csv")

    assert as_csv.returncode == 1
    assert {line.count(",") for line in as_csv.stdout.splitlines()} <= {7, 8}  # a name has one

    as_json = home.run("bench", "guide", *QUICK, "--against", str(saved), "--json")

    (change, *_) = json.loads(as_json.stdout)["changes"]
    assert change.keys() == {"model", "name", "before", "now", "ratio", "noise", "verdict"}
    saved.write_text(json.dumps(report).replace("guide:latest", "other:latest"))

    other = home.run("bench", "guide", *QUICK, "--against", str(saved))

    assert other.returncode == 2
    assert "no figures of guide:latest, only of other:latest" in other.stderr


def test_a_full_disk_loses_no_figures(home: Home) -> None:
    done = home.run("bench", "guide", *QUICK, "--csv", "--save", "/dev/full")

    assert done.returncode == 8
    assert "pp32" in done.stdout


def test_all_figures_are_of_the_context_that_is_asked_for(home: Home) -> None:
    done = home.run("bench", "guide", *QUICK, "--ctx", "1024", "--json")

    (state,) = json.loads(home.run("ps", "--json").stdout)
    assert json.loads(done.stdout)["head"]["context"] == state["context"] == 1024


def test_json_has_these_keys(home: Home) -> None:
    told = json.loads(home.run("bench", "guide", *QUICK, "--json").stdout)

    assert told.keys() == {"format_version", "head", "rows"}
    assert told["rows"][0].keys() == {"model", "name", "unit", "samples", "median", "spread"}


def test_another_server_is_measured_in_turn(home: Home) -> None:
    home.run("load", "guide")

    done = home.run("bench", "guide", *QUICK, "--compare", home.url, "--json")

    (rows,) = json.loads(done.stdout).values()
    assert [row["name"] for row in rows] == [
        "first token, 32 words", "prompt, 32 words", "tg8", "tg8 x2",
    ]  # fmt: skip
    assert all(row["here"] and row["there"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--prompt", "many"], 2, "--prompt many"),
        (["--parallel", "0"], 2, "--parallel 0"),
        (["--csv", "--json"], 2, "exclude"),
        (["--against", "nothing.json"], 8, "nothing.json"),
        (["--image", "a.txt"], 2, "--image a.txt"),
        (["--compare", "ftp://x"], 2, "ftp://x"),
        (["--compare", "http://127.0.0.1:9"], 5, "127.0.0.1:9"),
        (["--compare", "http://127.0.0.1:9", "--save", "x.json"], 2, "--save and --compare"),
        (["--compare", "http://127.0.0.1:9", "--csv"], 2, "--csv and --compare"),
        (["--gen", "5000"], 2, "--gen 5000 does not fit the context of 2048 tokens"),
    ],
)
def test_what_is_wrong_is_named(
    home: Home, arguments: list[str], exit_code: int, message: str
) -> None:
    done = home.run("bench", "guide", *arguments)

    assert done.returncode == exit_code
    assert message in done.stderr
    assert done.stdout == ""
