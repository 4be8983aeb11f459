"""Reflow of the prompt when the window changes its size.

Most terminals wrap the lines on the screen again when they become narrower, so the prompt starts
further above the cursor than the line editor has drawn it. The others cut the lines. Only a
terminal that is known to wrap is treated so: the wrong guess would erase lines above the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRAPPING = (  # variables that such terminals set
    "TMUX", "VTE_VERSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID", "WEZTERM_PANE",
    "ITERM_SESSION_ID", "WT_SESSION", "ALACRITTY_WINDOW_ID", "GHOSTTY_RESOURCES_DIR",
)  # fmt: skip


def wraps_again(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal is known to wrap its lines again."""
    return any(environ.get(name) for name in WRAPPING)


def added_rows(widths: Sequence[int], cursor_column: int, columns: int) -> int:
    """Return by how many rows the cursor has moved away from the start of the prompt.

    ``widths`` are those of the rows up to the cursor's. A cursor behind the last letter of a full
    row stays in that row.
    """
    *above, own = widths
    wrapped = sum((max(width, 1) - 1) // columns for width in above)
    return wrapped + min(cursor_column, max(own, 1) - 1) // columns
