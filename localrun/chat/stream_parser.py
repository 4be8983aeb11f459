"""Take a reply apart while it comes: text, thought, tool calls.

Law: however the reply is cut into pieces, the parts add up to the same. Text that
may be the beginning of a tag is held back. A tool call comes while it is written where
its family writes JSON, else when it is complete; one that is malformed before its
arguments begin, or never complete, comes back as the text it was, unless a limit cut the
reply. Each character is looked at a bounded number of times.

A call inside a thought counts if the thought is never closed (some models go over to
calling without closing it), so it waits for the end of the reply; in a thought that is
closed it was only thought of.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from localrun.chat.call_stream import LONGEST_HEAD, CallStream
from localrun.chat.profiles.tools import NO_TOOLS, Tools
from localrun.chat.tags import (
    BRACKETS,
    IN_STRING,
    NO_TAGS,
    SOLID,
    ReplyTags,
    TagSet,
    closing_tags,
    tag_set,
)
from localrun.chat.tool_calls import CallBegun, CallPart

if TYPE_CHECKING:
    import re

    from localrun.chat.profiles.profile import Profile


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """A piece of the thought."""

    text: str


Part = TextPart | ReasoningPart | CallPart


class _State(Enum):
    """Where the reply is."""

    ANSWER = auto()
    THOUGHT = auto()
    SUSPECT = auto()  # in a thought, behind what may be a call
    CHANNEL = auto()  # in the header of a message
    HEADER = auto()  # of a call: up to where its JSON begins
    CALL = auto()  # up to its closing tag
    BEFORE_JSON = auto()  # of a call that ends with its JSON
    JSON = auto()


RECIPIENT = "to="  # in the header of a message
_TEXT_STATES = frozenset({_State.ANSWER, _State.THOUGHT})
_CALL_STATES = frozenset({_State.HEADER, _State.CALL, _State.BEFORE_JSON, _State.JSON})


class StreamParser:
    """The state of one reply; ``prompt_tail`` tells what the template has opened already.

    ``tools`` are the request's: they give the types of arguments that a family writes
    without quotes, and tell a call without tags from an answer that is JSON. A parser that
    ``keeps_thoughts`` leaves them in the text, with their tags.
    """

    def __init__(
        self,
        profile: Profile,
        prompt_tail: str = "",
        tools: Tools | None = None,
        *,
        keeps_thoughts: bool = False,
    ) -> None:
        self._profile = profile
        self._keeps_thoughts = keeps_thoughts
        self._opening = ""  # of a thought that the prompt opened, as it stands there
        self._tools = tools or NO_TOOLS
        is_asked = not profile.is_fallback or bool(self._tools.by_name)
        self._region = profile.tool_call.region if profile.tool_call and is_asked else None
        self._state = _State.ANSWER
        self._given = ""  # what the prompt has of a call's opening
        self._held = ""  # may be the beginning of a tag; shorter than one
        self._call: list[str] = []
        self._suspect: list[str] = []  # of a thought, from what may be a call on
        self._is_suspect_named = False  # a tool is named where its name would stand
        self._header = ""  # of a message
        self._stream: CallStream | None = None  # of the region that is open
        self._num_told = 0  # pieces of the call that the stream has seen
        self._in_string = False
        self._in_quote = False
        self._depth = 0
        self._at_start = True  # nothing but blanks, thoughts and calls so far
        self._at_thought_start = False
        self._is_after_call = False
        self._is_to_tool = True  # the message may have calls
        self._skip_blank = False  # blank lines after a tag are the template's, not the answer's
        self._tags = ReplyTags.of(profile, self._region)
        self._start_tags = self._tags.answer
        self._closing_tags = NO_TAGS
        if self._region and self._region.is_bare and self._tools.by_name:
            self._start_tags += ("{",)
        self._open(prompt_tail)

    def push(self, text: str) -> list[Part]:
        """Take the next piece of the reply and return the parts that are certain now."""
        return self._take(self._held + text, is_last=False)

    def finish(self, *, is_cut: bool = False) -> list[Part]:
        """Return what was held back, at the end of the reply.

        The beginning of a tagged call is no text if a limit cut the reply (``is_cut``).
        """
        parts = self._take(self._held, is_last=True)
        if self._state in _CALL_STATES:  # models may leave out the closing
            self._end_call(parts, is_cut=is_cut and self._call[0] != "{")
        elif self._state is _State.SUSPECT:
            parts += self._resolved(is_cut=is_cut)
        elif self._state is _State.CHANNEL:
            self._state = _State.ANSWER
            self._emit("" if self._header.startswith("<") else self._header, parts)
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
            if self._is_false_alarm(text, start, end):
                text, start = self._back_to_thought(text[start:], parts), 0
                continue
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

    def _awaited(self) -> TagSet:
        """Return the tags that mean something here."""
        match self._state:
            case _State.ANSWER:
                return self._awaited_in_answer()
            case _State.THOUGHT:
                return self._awaited_in_thought()
            case _State.SUSPECT:
                return self._tags.thought
            case _State.CHANNEL:
                return self._tags.channel
        return self._awaited_in_call()

    def _awaited_in_answer(self) -> TagSet:
        if not self._is_to_tool:
            return self._plain_tags
        if self._is_after_call and self._region and self._region.single:
            return self._tags.answer + (self._region.closing,)  # noqa: RUF005 - a set of tags
        return self._start_tags if self._at_start else self._tags.answer

    def _awaited_in_thought(self) -> TagSet:
        tags, thinking = self._tags.thought, self._profile.thinking
        if self._tools.by_name:
            tags += self._tags.calls
        return tags + (thinking.opening,) if thinking and self._at_thought_start else tags  # noqa: RUF005 - a set of tags

    def _awaited_in_call(self) -> TagSet:
        if self._state is _State.HEADER:
            return self._tags.header
        if self._state is _State.BEFORE_JSON:
            return SOLID
        if self._in_string:
            return IN_STRING
        if self._state is _State.JSON:
            return BRACKETS
        quote = self._region.quote if self._region else None
        return tag_set((quote.closing,)) if quote and self._in_quote else self._closing_tags

    @property
    def _plain_tags(self) -> TagSet:
        """The tags of an answer in a message that has no calls."""
        return tag_set(tuple(tag for tag in self._tags.answer.texts if tag not in self._tags.calls))

    def _cross(self, found: re.Match[str], parts: list[Part]) -> int:
        """Act on a tag: enter or leave a region; return where to go on."""
        tag = found.group()
        match self._state:
            case _State.ANSWER:
                self._enter(tag, parts)
            case _State.THOUGHT | _State.SUSPECT:
                self._cross_in_thought(tag, parts)
            case _State.CHANNEL:
                self._cross_in_channel(tag, parts)
            case _State.HEADER:
                self._call.append(tag)
                self._state = self._body_state(self._call[0])
            case _State.BEFORE_JSON if tag not in {"{", "["}:
                self._end_call(parts)  # it only began like a call
                return found.start()
            case _:
                self._inside_call(tag, parts)
        return found.end()

    def _cross_in_thought(self, tag: str, parts: list[Part]) -> None:
        """Leave a thought, begin to suspect a call in it, or drop its second opening."""
        thinking, channels = self._profile.thinking, self._profile.channels
        if tag in self._tags.calls:
            self._state, self._suspect, self._is_suspect_named = _State.SUSPECT, [tag], False
            return
        if thinking and tag == thinking.opening:
            self._skip_blank = True
            return
        if self._suspect:  # the thought goes over it, so it was only thought of
            suspect, self._suspect = "".join(self._suspect), []
            self._state = _State.THOUGHT
            self._emit(suspect, parts)
        self._state, self._skip_blank = _State.ANSWER, True
        if thinking and tag == thinking.closing:
            self._keep(tag, parts)
        if channels and tag in channels.openings:
            self._enter(tag, parts)

    def _cross_in_channel(self, tag: str, parts: list[Part]) -> None:
        """Go on in the header of a message, or begin what the header says."""
        channels = self._profile.channels
        self._header += tag
        if channels is None or tag != channels.end:
            return
        kind = channels.kind(self._header.removesuffix(tag))
        self._is_to_tool = not channels.has_call_messages or kind == "call"
        self._state, self._skip_blank = _State.ANSWER, True
        if kind == "thought":
            self._begin_thought(self._header, parts)
        elif kind == "call" and not channels.has_call_messages and self._region:
            self._begin_call(self._header[self._header.index(RECIPIENT) :])
            self._state = self._body_state("")

    def _enter(self, tag: str, parts: list[Part]) -> None:
        """Enter the region that a tag opens, or drop the tag."""
        thinking, region, channels = self._profile.thinking, self._region, self._profile.channels
        if thinking and tag == thinking.opening:
            self._begin_thought(tag, parts)
        elif channels and (tag in channels.openings or tag.lstrip() == RECIPIENT):
            self._state, self._header = _State.CHANNEL, tag
        elif region and (tag in self._tags.calls or tag == "{"):
            self._begin_call(tag)
            if tag == "{":
                self._state, self._depth = _State.JSON, 1
            else:
                self._closing_tags = closing_tags(region, tag)
                self._state = _State.HEADER if region.header_end else self._body_state(tag)
        else:
            self._skip_blank = self._skip_blank or self._at_start

    def _begin_thought(self, tag: str, parts: list[Part]) -> None:
        self._state, self._skip_blank, self._at_thought_start = _State.THOUGHT, True, True
        self._keep(tag, parts)

    def _keep(self, tag: str, parts: list[Part]) -> None:
        """Pass on a tag of a thought, where thoughts stay in the text."""
        if self._keeps_thoughts and tag:
            parts.append(TextPart(self._opening + tag))
            self._opening, self._skip_blank = "", False

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
        quote = self._region.quote if self._region else None
        if quote and tag in {quote.opening, quote.closing}:
            self._in_quote = tag == quote.opening
        elif tag == '"':
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

    def _body_state(self, opening: str) -> _State:
        has_closing = self._region is not None and bool(self._region.closing_of(opening))
        return _State.CALL if has_closing else _State.BEFORE_JSON

    def _end_call(self, parts: list[Part], *, is_cut: bool = False) -> None:
        """Turn a region into calls, or into the text it was; one that is cut is no text."""
        self._tell_call(parts)
        text, self._call = "".join(self._call), []
        self._state, self._in_string, self._in_quote = _State.ANSWER, False, False
        form, given, stream = self._profile.tool_call, self._given, self._stream
        self._given, self._stream = "", None
        calls = form.read(text, self._tools) if form else None
        has_calls = calls is not None or (stream is not None and stream.has_begun)
        self._skip_blank = self._is_after_call = has_calls
        if not has_calls and not is_cut:
            self._emit(text.removeprefix(given), parts)
        elif stream and calls:
            parts.extend(stream.rest(calls))

    def _is_false_alarm(self, text: str, start: int, end: int) -> bool:
        """Return whether what may be a call, in a thought, has no tool's name near its beginning.

        What it looks at does not depend on how the reply was cut.
        """
        if self._state is not _State.SUSPECT or self._is_suspect_named:
            return False
        num_missing = LONGEST_HEAD - sum(map(len, self._suspect))
        if end - start < num_missing:
            return False
        head = "".join(self._suspect) + text[start : start + num_missing]
        self._is_suspect_named = any(name in head for name in self._tools.by_name)
        return not self._is_suspect_named

    def _back_to_thought(self, rest: str, parts: list[Part]) -> str:
        """Return what to read again, as a thought, behind a tag that began no call."""
        opening, *others = self._suspect
        self._state, self._suspect = _State.THOUGHT, []
        self._emit(opening, parts)
        return "".join(others) + rest

    def _resolved(self, *, is_cut: bool) -> list[Part]:
        """Return the calls with which an open thought ends, or else the rest of the thought."""
        text, self._suspect = "".join(self._suspect), []
        parser = StreamParser(self._profile, tools=self._tools)
        parts = [*parser.push(text), *parser.finish(is_cut=is_cut)]
        if any(isinstance(part, CallBegun) for part in parts):
            return parts
        thought: list[Part] = []
        self._emit_thought(text, thought)
        return thought

    def _open(self, prompt_tail: str) -> None:
        """Begin inside of the region that the end of the prompt opens."""
        thinking, channels = self._profile.thinking, self._profile.channels
        tail = prompt_tail.rstrip()
        if thinking and tail.endswith(thinking.opening.rstrip()):
            self._begin_thought("", [])
            self._opening = prompt_tail[prompt_tail.rindex(thinking.opening.rstrip()) :]
            self._skip_blank = not self._keeps_thoughts
            return
        for opening in channels.openings if channels else ():
            if tail.endswith(opening):
                self._start_tags += (RECIPIENT, f" {RECIPIENT}")
        for opening in self._region.openings if self._region else ():
            if tail.endswith(opening):
                self._held = self._given = opening

    def _emit(self, text: str, parts: list[Part]) -> None:
        if self._state is _State.SUSPECT:
            self._suspect.append(text)
        elif self._state is _State.CHANNEL:
            self._header += text
        elif self._state not in _TEXT_STATES:
            self._call.append(text)
        else:
            self._emit_text(text, parts)

    def _emit_text(self, text: str, parts: list[Part]) -> None:
        if self._skip_blank:
            text = text.lstrip("\r\n")
            self._skip_blank = not text
        if not text:
            return
        if self._state is _State.THOUGHT:
            self._at_thought_start = self._at_thought_start and not text.strip()
            self._emit_thought(text, parts)
        else:
            is_blank = not text.strip()
            self._at_start = self._at_start and is_blank
            self._is_after_call = self._is_after_call and is_blank
            parts.append(TextPart(text))

    def _emit_thought(self, text: str, parts: list[Part]) -> None:
        if self._keeps_thoughts:
            parts.append(TextPart(self._opening + text))
            self._opening = ""
        else:
            parts.append(ReasoningPart(text))
