"""Sizes and durations in words."""

from __future__ import annotations

import pytest

from localrun.cli.output import Output, counted, human_bytes, human_seconds
from localrun.cli.progress import shown_progress


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (6_276_864, "6.3 MB"),
        (999_949, "999.9 KB"),
        (999_960, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_a_size_never_has_four_digits_before_the_point(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 seconds"), (1.2, "1 second"), (59, "59 seconds"), (60, "1 minute"), (7200, "2 hours")],
)
def test_one_of_a_unit_is_written_in_the_singular(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
    assert counted(1, "file") == "1 file"
    assert counted(0, "file") == "0 files"


def test_a_digest_in_a_file_name_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(Output()) as report:
        report.advance(f"sha256-{'ab' * 32}", 5, 5)

    assert capsys.readouterr().err == "sha256-abababababab: 5 B, complete\n"
