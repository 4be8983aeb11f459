"""The tags that a parser looks for at one place of a reply."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import Region
    from localrun.chat.profiles.profile import Profile


@dataclass(frozen=True, slots=True)
class TagSet:
    """Tags to look for; of two at one place the longer counts."""

    texts: tuple[str, ...]  # the longest first
    pattern: re.Pattern[str]

    def partial(self, text: str, start: int) -> int:
        """Return where the end of ``text`` may be the beginning of a tag, or else its length."""
        first = max(start, len(text) - max(map(len, self.texts), default=0) + 1)
        for begin in range(first, len(text)):
            rest = text[begin:]
            if any(len(tag) > len(rest) and tag.startswith(rest) for tag in self.texts):
                return begin
        return len(text)

    def __add__(self, texts: tuple[str, ...]) -> TagSet:
        return tag_set((*self.texts, *texts))


@lru_cache(256)
def tag_set(texts: tuple[str, ...]) -> TagSet:
    """Return the set of some tags."""
    ordered = tuple(sorted(filter(None, set(texts)), key=lambda text: (-len(text), text)))
    return TagSet(ordered, re.compile("|".join(map(re.escape, ordered)) or r"(?!)"))


SOLID = TagSet((), re.compile(r"\S"))
BRACKETS = TagSet((), re.compile(r'["{}\[\]]'))
IN_STRING = tag_set(('"', r"\"", "\\\\"))
NO_TAGS = tag_set(())


@dataclass(frozen=True, slots=True)
class ReplyTags:
    """The tags of a model's replies, by where they mean something."""

    answer: TagSet
    calls: tuple[str, ...]  # that begin a call, for the text of an answer or a thought
    thought: TagSet
    header: TagSet  # of a call
    channel: TagSet  # header of a message

    @classmethod
    def of(cls, profile: Profile, region: Region | None) -> ReplyTags:
        """Return the tags of a profile, whose calls stand in a region, if there are any."""
        thinking, channels = profile.thinking, profile.channels
        openings = channels.openings if channels else ()
        calls = region.all_openings if region else ()
        return cls(
            answer=tag_set(
                (*((thinking.opening,) if thinking else ()), *calls, *profile.dropped, *openings)
            ),
            calls=calls,
            thought=tag_set(
                (thinking.closing, *profile.answer_openings, *openings) if thinking else ()
            ),
            header=tag_set((region.header_end,) if region else ()),
            channel=tag_set((channels.end, *openings) if channels else ()),
        )


def closing_tags(region: Region, opening: str) -> TagSet:
    """Return what means something inside a region that was opened so."""
    strings = ('"',) if region.has_strings else ()
    quotes = (region.quote.opening,) if region.quote else ()
    return tag_set((region.closing_of(opening), *strings, *quotes))
