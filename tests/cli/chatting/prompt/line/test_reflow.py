from __future__ import annotations

import pytest

from localrun.cli.chatting.prompt.line.reflow import added_rows, wraps_again


@pytest.mark.parametrize(
    ("widths", "cursor_column", "columns", "rows"),
    [
        ([10], 10, 80, 0),
        ([80, 10], 10, 80, 0),
        ([80, 10], 10, 40, 1),
        ([80, 80, 3], 3, 30, 4),
        ([90], 90, 30, 2),
        ([91], 90, 30, 3),
        ([91], 10, 30, 0),
        ([0], 0, 20, 0),
    ],
)
def test_rows_are_counted_as_the_terminal_wraps_them(
    widths: list[int], cursor_column: int, columns: int, rows: int
) -> None:
    assert added_rows(widths, cursor_column, columns) == rows


def test_an_unknown_terminal_cuts_its_lines() -> None:
    assert not wraps_again({"TERM": "xterm-256color", "TMUX": ""})
    assert wraps_again({"TERM": "tmux-256color", "TMUX": "a socket"})
