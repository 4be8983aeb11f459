"""Regions of a reply that are a tool call, or may be one.

`CallRegion` collects the text from a call's opening to its closing, and streams the parts of the
calls in it. `SuspectedCall` collects the text of reasoning behind a tag that may open a call. Both
see the reply through the tags that ``stream_parser.py`` finds, and never look at a character twice.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from localrun.chat.call_stream import MAX_HEAD_CHARS, CallStream
from localrun.chat.tags import BRACKETS, IN_STRING, SOLID, TagSet, closing_tags, tag_set

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.chat.profiles.formats.format import Region, ToolCallFormat
    from localrun.chat.profiles.tools import Tools
    from localrun.chat.tool_calls import CallPart

BARE_OPENING = "{"  # of a call without tags


class _CallState(Enum):
    """Position within the region."""

    HEADER = auto()  # before the end of the header
    BODY = auto()  # before the closing tag
    BEFORE_JSON = auto()  # of a call that ends with its JSON
    JSON = auto()


class CallRegion:
    """The text of one open region and the parts of its calls."""

    def __init__(
        self, opening: str, call_format: ToolCallFormat, tools: Tools, *, has_header: bool
    ) -> None:
        self._format = call_format
        self._region = call_format.region
        self._tools = tools
        self._opening = opening
        self._pieces = [opening]
        self._num_streamed = 0  # pieces that the stream has seen
        self._stream = CallStream(call_format, tools)
        self._header_tags = tag_set((self._region.header_end,))
        self._closing_tags = closing_tags(self._region, opening)
        self._in_string = False
        self._in_quote = False
        self._depth = 0
        if opening == BARE_OPENING:
            self._state, self._depth = _CallState.JSON, 1
        else:
            self._state = _CallState.HEADER if has_header else _body_state(self._region, opening)

    @property
    def text(self) -> str:
        """The region's text so far, its tags included."""
        return "".join(self._pieces)

    @property
    def is_bare(self) -> bool:
        """Return whether the region has no tag."""
        return self._opening == BARE_OPENING

    @property
    def awaited(self) -> TagSet:
        """The tags that have a meaning at this position."""
        if self._state is _CallState.HEADER:
            return self._header_tags
        if self._state is _CallState.BEFORE_JSON:
            return SOLID
        if self._in_string:
            return IN_STRING
        if self._state is _CallState.JSON:
            return BRACKETS
        quote = self._region.quote
        return tag_set((quote.closing,)) if quote and self._in_quote else self._closing_tags

    def add(self, text: str) -> None:
        """Add text without a tag."""
        self._pieces.append(text)

    def allows(self, tag: str) -> bool:
        """Return whether a call may go on with a tag: JSON begins with a bracket."""
        return self._state is not _CallState.BEFORE_JSON or tag in {"{", "["}

    def cross(self, tag: str) -> bool:
        """Add a tag; return whether the region ends with it."""
        self._pieces.append(tag)
        if self._state is _CallState.HEADER:
            self._state = _body_state(self._region, self._opening)
            return False
        quote = self._region.quote
        if quote and tag in {quote.opening, quote.closing}:
            self._in_quote = tag == quote.opening
        elif tag == '"':
            self._in_string = not self._in_string
        elif tag in {"{", "["}:
            self._state = _CallState.JSON
            self._depth += 1
        elif tag in {"}", "]"} and self._state is _CallState.JSON:
            self._depth -= 1
            return self._depth == 0
        else:
            return self._state is _CallState.BODY and not self._in_string
        return False

    def stream(self) -> list[CallPart]:
        """Return the parts that the text since the last call of this method completes."""
        text = "".join(self._pieces[self._num_streamed :])
        self._num_streamed = len(self._pieces)
        return self._stream.push(text)

    def close(self) -> list[CallPart] | None:
        """Return the remaining parts of the region's calls, or None if it has no call."""
        parts = self.stream()
        calls = self._format.read(self.text, self._tools)
        if calls is None and not self._stream.has_begun:
            return None
        return [*parts, *self._stream.remaining(calls)] if calls else parts


class SuspectedCall:
    """The text of reasoning from a tag on that may open a call."""

    def __init__(self, opening: str, tool_names: Iterable[str]) -> None:
        self._pieces = [opening]
        self._tool_names = tool_names
        self._names_tool = False

    @property
    def text(self) -> str:
        """The text from the opening on."""
        return "".join(self._pieces)

    def add(self, text: str) -> None:
        """Add text that follows."""
        self._pieces.append(text)

    def is_refuted_by(self, text: str) -> bool:
        """Return whether no tool's name stands near the opening, with ``text`` behind the rest.

        False while too little text is known, so the result does not depend on how the reply was
        cut into pieces.
        """
        if self._names_tool:
            return False
        num_missing = MAX_HEAD_CHARS - sum(map(len, self._pieces))
        if len(text) < num_missing:
            return False
        head = self.text + text[: max(num_missing, 0)]
        self._names_tool = any(name in head for name in self._tool_names)
        return not self._names_tool

    def refuted(self) -> tuple[str, str]:
        """Return the opening, which is reasoning, and the text behind it, to be parsed again."""
        opening, *others = self._pieces
        return opening, "".join(others)


def _body_state(region: Region, opening: str) -> _CallState:
    return _CallState.BODY if region.closing_of(opening) else _CallState.BEFORE_JSON
