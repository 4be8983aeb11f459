"""Thoughts inside an answer's text, of engines that do not separate them.

Only a reply that begins with an opening tag has thoughts: a tag later on may be what the answer is
about. `StreamParser` finds the end, however the text is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.profile import Profile
from localrun.chat.stream_parser import StreamParser, TextPart

if TYPE_CHECKING:
    from localrun.chat.stream_parser import Part

TAGS = (
    Tags("<think>", "</think>"),
    Tags("<thinking>", "</thinking>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("[THINK]", "[/THINK]"),
)
LONGEST_HELD = 200  # characters: blanks before a tag


class ThoughtReader:
    """Reader of one answer's text; with ``keeps_thoughts`` they stay in the text."""

    def __init__(self, *, keeps_thoughts: bool = False) -> None:
        self._keeps_thoughts = keeps_thoughts
        self._held: str | None = ""  # the beginning, while it may be a tag
        self._parser: StreamParser | None = None

    def push(self, text: str) -> list[Part]:
        """Add the next piece of the text; return the parts that are certain now."""
        if self._held is None:
            return self._parsed(text)
        self._held += text
        beginning = self._held.lstrip()
        may_be_tag = any(tags.opening.startswith(beginning) for tags in TAGS)
        is_tag = any(tags.opening == beginning for tags in TAGS)
        if len(self._held) < LONGEST_HELD and may_be_tag and not is_tag:
            return []
        return self._begin()

    def finish(self) -> list[Part]:
        """Return what was held back, at the end of the answer."""
        parts = self._begin() if self._held else []
        return parts + (self._parser.finish() if self._parser else [])

    def _begin(self) -> list[Part]:
        held, self._held = self._held or "", None
        beginning = held.lstrip()
        tags = next((tags for tags in TAGS if beginning.startswith(tags.opening)), None)
        if tags is not None:
            keeps = self._keeps_thoughts
            self._parser = StreamParser(Profile(thinking=tags), keeps_thoughts=keeps)
            return self._parser.push(beginning)
        return [TextPart(held)] if held else []

    def _parsed(self, text: str) -> list[Part]:
        if self._parser is not None:
            return self._parser.push(text)
        return [TextPart(text)] if text else []
