"""Sets of tags that the stream parser searches for, by the position in the reply."""

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
    """Tags to search for; of two tags at one offset, the longer matches."""

    texts: tuple[str, ...]  # the longest first
    pattern: re.Pattern[str]

    def partial(self, text: str, start: int) -> int:
        """Return the offset of a possible incomplete tag at the end of ``text``, or its length."""
        first = max(start, len(text) - max(map(len, self.texts), default=0) + 1)
        for begin in range(first, len(text)):
            tail = text[begin:]
            if any(len(tag) > len(tail) and tag.startswith(tail) for tag in self.texts):
                return begin
        return len(text)

    def __add__(self, texts: tuple[str, ...]) -> TagSet:
        return tag_set((*self.texts, *texts))


@lru_cache(256)
def tag_set(texts: tuple[str, ...]) -> TagSet:
    """Return the set of these tags; equal tags give the same object while it is cached."""
    ordered = tuple(sorted(filter(None, set(texts)), key=lambda text: (-len(text), text)))
    return TagSet(ordered, re.compile("|".join(map(re.escape, ordered)) or r"(?!)"))


SOLID = TagSet((), re.compile(r"\S"))
BRACKETS = TagSet((), re.compile(r'["{}\[\]]'))
IN_STRING = tag_set(('"', r"\"", "\\\\"))


@dataclass(frozen=True, slots=True)
class ReplyTags:
    """The tags of a model's replies, by the position where they have a meaning."""

    answer: TagSet
    calls: tuple[str, ...]  # openings of calls, in an answer or in reasoning
    reasoning: TagSet
    channel: TagSet  # in the header of a message

    @classmethod
    def of(cls, profile: Profile, region: Region | None) -> ReplyTags:
        """Return the tags of a profile; ``region`` is that of its calls, None if calls are text."""
        thinking, channels = profile.thinking, profile.channels
        openings = channels.openings if channels else ()
        calls = region.all_openings if region else ()
        return cls(
            answer=tag_set(
                (*((thinking.opening,) if thinking else ()), *calls, *profile.dropped, *openings)
            ),
            calls=calls,
            reasoning=tag_set(
                (thinking.closing, *profile.answer_openings, *openings) if thinking else ()
            ),
            channel=tag_set((channels.end, *openings) if channels else ()),
        )


def closing_tags(region: Region, opening: str) -> TagSet:
    """Return the tags that have a meaning in a call region with this opening."""
    strings = ('"',) if region.has_strings else ()
    quotes = (region.quote.opening,) if region.quote else ()
    return tag_set((region.closing_of(opening), *strings, *quotes))
