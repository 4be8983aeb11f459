"""Tool-call format of a model family: the interface that the parser, the prober and grammars use.

One value serves three uses: ``region`` tells the stream parser which text to collect, ``read``
parses the text into calls, and ``frame`` with ``pieces`` describes the grammar of correct calls.
A format knows text and JSON, neither tokens nor the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from localrun.chat.profiles.formats.pieces import Piece
    from localrun.chat.profiles.tools import Tool, Tools
    from localrun.chat.tool_calls import ToolCall


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags around a region of a reply."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The region of a reply that holds tool calls.

    From an opening, through ``header_end``, to ``closing``; without a closing, to the end of the
    JSON value that follows. ``single`` are the tags of one call, because models leave out the
    tags of the section around all calls.
    """

    openings: tuple[str, ...]
    header_end: str = ""
    closing: str = ""
    has_strings: bool = True  # a closing inside a JSON string is text
    is_bare: bool = False  # a reply that begins with "{" is a region, too
    single: Tags | None = None
    quote: Tags | None = None  # a closing between these tags is text

    @property
    def all_openings(self) -> tuple[str, ...]:
        """The openings of a section and of a single call."""
        return (*self.openings, self.single.opening) if self.single else self.openings

    def closing_of(self, opening: str) -> str:
        """Return the closing tag of a region with this opening."""
        is_single = self.single is not None and opening == self.single.opening
        return self.single.closing if self.single and is_single else self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The text around all calls of a reply, and between two calls."""

    opening: str = ""
    separator: str = "\n"
    closing: str = ""


class ToolCallFormat(Protocol):
    """A tool-call format."""

    @property
    def region(self) -> Region:
        """The region that holds calls."""

    @property
    def frame(self) -> Frame:
        """The text around calls."""

    @property
    def head(self) -> re.Pattern[str] | None:
        """The pattern of the text before the JSON object of a call's arguments.

        It matches from the region's beginning or from the previous arguments; its group ``name``
        is the tool's name. None if arguments are not JSON.
        """

    def pieces(self, tool: Tool) -> Sequence[Piece]:
        """Return the pieces of a correct call of a tool."""

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Return the calls of a region with its tags, or None if it is malformed."""
