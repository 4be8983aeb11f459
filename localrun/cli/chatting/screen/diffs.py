"""Differences of a file as colored lines, bounded in number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.rendering.look import BOLD, RESET
from localrun.terminal import harmless_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.cli.rendering.look import TerminalLook

MAX_LINES, MAX_LENGTH = 200, 500
COLORS = {"+": "32", "-": "31", "@": "36"}


def render_diff(diff: str, look: TerminalLook) -> Iterator[str]:
    """Yield the lines of a unified diff; behind `MAX_LINES` only their number."""
    lines = diff.removesuffix("\n").split("\n") if diff else []
    for line in lines[:MAX_LINES]:
        num_more = len(line) - MAX_LENGTH
        end = f" ... ({num_more} more characters)" if num_more > 0 else ""  # nothing is hidden
        yield _styled(harmless_line(line[:MAX_LENGTH]) + end, look)
    if len(lines) > MAX_LINES:
        yield f"... and {len(lines) - MAX_LINES} more lines"


def _styled(line: str, look: TerminalLook) -> str:
    is_head = line.startswith(("+++", "---"))
    code = BOLD if is_head else COLORS.get(line[:1], "")
    allowed = look.has_styles and (is_head or look.has_color)
    return f"\033[{code}m{line}{RESET}" if code and allowed else line
