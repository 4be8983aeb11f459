"""Take a reply apart while it comes: text, thought, tool calls.

Law: however the reply is cut into pieces, the parts add up to the same. Text that
may be the beginning of a tag is held back. A tool call comes while it is written where
its family writes JSON, else when it is complete; one that is malformed before its
arguments begin, or never complete, comes back as the text it was. Each character is
looked at a bounded number of times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.chat.call_stream import CallStream
from localrun.chat.profiles.tools import NO_TOOLS, Tools
from localrun.chat.tool_calls import CallPart

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import Profile, Region


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the thought."""

    text: str


Part = Text | Thought | CallPart


@dataclass(frozen=True, slots=True)
class _TagSet:
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


@lru_cache(256)
def _tag_set(texts: tuple[str, ...]) -> _TagSet:
    ordered = tuple(sorted(filter(None, texts), key=len, reverse=True))
    return _TagSet(ordered, re.compile("|".join(map(re.escape, ordered)) or r"(?!)"))


_SOLID = _TagSet((), re.compile(r"\S"))
_BRACKETS = _TagSet((), re.compile(r'["{}\[\]]'))
_IN_STRING = _tag_set(('"', r"\"", "\\\\"))


class _State(Enum):
    """Where the reply is."""

    ANSWER = auto()
    THOUGHT = auto()
    HEADER = auto()  # of a call: up to where its JSON begins
    CALL = auto()  # up to its closing tag
    BEFORE_JSON = auto()  # of a call that ends with its JSON
    JSON = auto()


class StreamParser:
    """The state of one reply; ``prompt_tail`` tells what the template has opened already.

    ``tools`` are the request's: they give the types of arguments that a family writes
    without quotes, and tell a call without tags from an answer that is JSON.
    """

    def __init__(self, profile: Profile, prompt_tail: str = "", tools: Tools | None = None) -> None:
        self._profile = profile
        self._tools = tools or NO_TOOLS
        is_asked = not profile.is_fallback or bool(self._tools.by_name)
        self._region = profile.tool_call.region if profile.tool_call and is_asked else None
        self._state = _State.ANSWER
        self._given = ""  # what the prompt has of a call's opening
        self._held = ""  # may be the beginning of a tag; shorter than one
        self._call: list[str] = []
        self._stream: CallStream | None = None  # of the region that is open
        self._num_told = 0  # pieces of the call that the stream has seen
        self._in_string = False
        self._depth = 0
        self._at_start = True  # nothing but blanks, thoughts and calls so far
        self._skip_blank = False  # blank lines after a tag are the template's, not the answer's
        self._answer_tags = _tags_of_answer(profile, self._region)
        self._start_tags = self._answer_tags
        if self._region and self._region.is_bare and self._tools.by_name:
            self._start_tags = _tag_set(("{", *self._answer_tags.texts))
        self._thought_tags = _tag_set((profile.thinking.closing,) if profile.thinking else ())
        self._header_tags = _tag_set((self._region.header_end,) if self._region else ())
        self._closing_tags = _closing_tags_of(self._region)
        self._open(prompt_tail.rstrip())

    def push(self, text: str) -> list[Part]:
        """Take the next piece of the reply and return the parts that are certain now."""
        return self._take(self._held + text, is_last=False)

    def finish(self, *, is_cut: bool = False) -> list[Part]:
        """Return what was held back, at the end of the reply.

        The beginning of a tagged call is no text if a limit cut the reply (``is_cut``).
        """
        parts = self._take(self._held, is_last=True)
        if self._state not in {_State.ANSWER, _State.THOUGHT}:  # models may leave out the closing
            self._end_call(parts, is_cut=is_cut and self._call[0] != "{")
        return parts

    def _take(self, text: str, *, is_last: bool) -> list[Part]:
        """Go from tag to tag and hold back the end, if it may begin one."""
        parts: list[Part] = []
        start = 0
        while start < len(text):
            tags = self._awaited()
            held = len(text) if is_last else tags.partial(text, start)
            tag = tags.pattern.search(text, start)
            end = tag.start() if tag and tag.start() < held else held
            self._emit(text[start:end], parts)
            start = end
            if self._awaited() is not tags:  # the reply is no longer at its start
                continue
            if not tag or end == held:
                break
            start = self._cross(tag, parts)
        self._held = text[start:]
        self._tell_call(parts)
        return parts

    def _awaited(self) -> _TagSet:
        """Return the tags that mean something here."""
        match self._state:
            case _State.ANSWER:
                return self._start_tags if self._at_start else self._answer_tags
            case _State.THOUGHT:
                return self._thought_tags
            case _State.HEADER:
                return self._header_tags
            case _State.BEFORE_JSON:
                return _SOLID
        if self._in_string:
            return _IN_STRING
        return _BRACKETS if self._state is _State.JSON else self._closing_tags

    def _cross(self, found: re.Match[str], parts: list[Part]) -> int:
        """Act on a tag: enter or leave a region; return where to go on."""
        tag = found.group()
        match self._state:
            case _State.ANSWER:
                self._enter(tag)
            case _State.THOUGHT:
                self._state, self._skip_blank = _State.ANSWER, True
            case _State.HEADER:
                self._call.append(tag)
                self._state = self._body_state()
            case _State.BEFORE_JSON if tag not in {"{", "["}:
                self._end_call(parts)  # it only began like a call
                return found.start()
            case _:
                self._inside_call(tag, parts)
        return found.end()

    def _enter(self, tag: str) -> None:
        """Enter the region that a tag opens, or drop the tag."""
        thinking, region = self._profile.thinking, self._region
        if thinking and tag == thinking.opening:
            self._state, self._skip_blank = _State.THOUGHT, True
        elif region and (tag in region.openings or tag == "{"):
            self._begin_call(tag)
            if tag == "{":
                self._state, self._depth = _State.JSON, 1
            else:
                self._state = _State.HEADER if region.header_end else self._body_state()
        else:
            self._skip_blank = self._skip_blank or self._at_start

    def _begin_call(self, tag: str) -> None:
        self._call, self._depth, self._in_string, self._num_told = [tag], 0, False, 0
        if self._profile.tool_call:
            self._stream = CallStream(self._profile.tool_call, self._tools)

    def _tell_call(self, parts: list[Part]) -> None:
        """Tell what is known of the call that is open."""
        if self._stream:
            parts.extend(self._stream.push("".join(self._call[self._num_told :])))
            self._num_told = len(self._call)

    def _inside_call(self, tag: str, parts: list[Part]) -> None:
        self._call.append(tag)
        if tag == '"':
            self._in_string = not self._in_string
        elif tag in {"{", "["}:
            self._state = _State.JSON
            self._depth += 1
        elif tag in {"}", "]"} and self._state is _State.JSON:
            self._depth -= 1
            if self._depth == 0:
                self._end_call(parts)
        elif self._state is _State.CALL and not self._in_string:
            self._end_call(parts)

    def _body_state(self) -> _State:
        return _State.CALL if self._region and self._region.closing else _State.BEFORE_JSON

    def _end_call(self, parts: list[Part], *, is_cut: bool = False) -> None:
        """Turn a region into calls, or into the text it was; one that is cut is no text."""
        self._tell_call(parts)
        text, self._call = "".join(self._call), []
        self._state, self._in_string = _State.ANSWER, False
        form, given, stream = self._profile.tool_call, self._given, self._stream
        self._given, self._stream = "", None
        calls = form.read(text, self._tools) if form else None
        has_calls = calls is not None or (stream is not None and stream.has_begun)
        self._skip_blank = has_calls
        if not has_calls and not is_cut:
            self._emit(text.removeprefix(given), parts)
        elif stream and calls:
            parts.extend(stream.rest(calls))

    def _open(self, prompt_tail: str) -> None:
        """Begin inside of the region that the end of the prompt opens."""
        thinking, region = self._profile.thinking, self._region
        if thinking and prompt_tail.endswith(thinking.opening.rstrip()):
            self._enter(thinking.opening)
            return
        for opening in region.openings if region else ():
            if prompt_tail.endswith(opening):
                self._held = self._given = opening

    def _emit(self, text: str, parts: list[Part]) -> None:
        if self._state not in {_State.ANSWER, _State.THOUGHT}:
            self._call.append(text)
            return
        if self._skip_blank:
            text = text.lstrip("\r\n")
            self._skip_blank = not text
        if not text:
            return
        if self._state is _State.THOUGHT:
            parts.append(Thought(text))
        else:
            self._at_start = self._at_start and not text.strip()
            parts.append(Text(text))


def _tags_of_answer(profile: Profile, region: Region | None) -> _TagSet:
    thinking = (profile.thinking.opening,) if profile.thinking else ()
    return _tag_set((*thinking, *(region.openings if region else ()), *profile.dropped))


def _closing_tags_of(region: Region | None) -> _TagSet:
    if region is None:
        return _tag_set(())
    return _tag_set((region.closing, '"') if region.has_strings else (region.closing,))
