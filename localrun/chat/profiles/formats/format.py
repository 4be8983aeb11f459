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
    """What begins and ends a region of a reply."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where tool calls stand in a reply.

    From an opening, through ``header_end``, to ``closing``; without a closing, to the
    end of the JSON value that follows. ``single`` is around one call: models leave out the
    tags of the section around all calls.
    """

    openings: tuple[str, ...]
    header_end: str = ""
    closing: str = ""
    has_strings: bool = True  # a closing inside a JSON string ends nothing
    is_bare: bool = False  # a reply that begins with "{" is one, too
    single: Tags | None = None
    quote: Tags | None = None  # a closing between these ends nothing

    @property
    def all_openings(self) -> tuple[str, ...]:
        """The openings, that of a single call among them."""
        return (*self.openings, self.single.opening) if self.single else self.openings

    def closing_of(self, opening: str) -> str:
        """Return what ends a region that was opened so."""
        is_single = self.single is not None and opening == self.single.opening
        return self.single.closing if self.single and is_single else self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around all calls of a reply, and between two."""

    opening: str = ""
    separator: str = "\n"
    closing: str = ""


class ToolCallFormat(Protocol):
    """How a family writes tool calls."""

    @property
    def region(self) -> Region:
        """Where they stand."""

    @property
    def frame(self) -> Frame:
        """What stands around them."""

    @property
    def head(self) -> re.Pattern[str] | None:
        """What stands before the JSON object of a call's arguments.

        From the region's beginning, or the arguments before; its group ``name`` is the
        tool's. None where arguments are not written in JSON.
        """

    def pieces(self, tool: Tool) -> Sequence[Piece]:
        """Return what a correct call of a tool is made of."""

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Return the calls of a region, its tags included; None when it is malformed."""
