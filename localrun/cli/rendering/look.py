"""TerminalLook of rendered text: the styles of a terminal, and what the user's environment allows.

Only bold, dim, italic, underline and the 16 named colors are used: every theme, dark or light,
defines those so that they can be read. ``NO_COLOR`` leaves the styles that are no colors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

RESET = "\033[0m"
BOLD, DIM, ITALIC, UNDERLINE, STRIKE, CYAN = "1", "2", "3", "4", "9", "36"
LINK_START, LINK_END = "\033]8;;{}\033\\", "\033]8;;\033\\"
DUMB = {"", "dumb", "unknown", "linux", "screen"}  # terminals without links


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalLook:
    """What is allowed: a look without styles writes text alone."""

    has_styles: bool = True
    has_color: bool = True
    has_links: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> TerminalLook:
        """Return the look that the environment of a terminal allows."""
        terminal = environ.get("TERM", "")
        return cls(
            has_styles=terminal not in {"dumb", "unknown"},
            has_color=not environ.get("NO_COLOR"),
            has_links=terminal not in DUMB and environ.get("TERM_PROGRAM") != "Apple_Terminal",
        )


PLAIN_LOOK = TerminalLook(has_styles=False, has_color=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Style of a piece of text."""

    is_bold: bool = False
    is_dim: bool = False
    is_italic: bool = False
    is_underlined: bool = False
    is_struck: bool = False
    is_code: bool = False
    color: str = ""  # SGR parameter of highlighted code
    link: str = ""  # URL

    def codes(self, look: TerminalLook) -> str:
        """Return the escape codes that begin the style, empty if it needs none."""
        if not look.has_styles:
            return ""
        flags = (
            (self.is_bold, BOLD),
            (self.is_dim, DIM),
            (self.is_italic, ITALIC),
            (self.is_underlined, UNDERLINE),
            (self.is_struck, STRIKE),
            (self.is_code and look.has_color, CYAN),
            (bool(self.color) and look.has_color, self.color),
        )
        numbers = ";".join(number for is_set, number in flags if is_set)
        return f"\033[{numbers}m" if numbers else ""


NO_STYLE = Style()
CODE = Style(is_code=True)


def styled(text: str, style: Style, look: TerminalLook) -> str:
    """Return a text with the codes of a style around it."""
    codes = style.codes(look)
    return f"{codes}{text}{RESET}" if codes and text else text
