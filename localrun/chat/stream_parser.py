"""Streaming parser of a reply: text, reasoning and tool calls.

The parts of a reply do not depend on how it is cut into pieces. Text that may be the beginning of
a tag is held back. A tool call is streamed if its family writes JSON, else it comes when it is
complete. A call that is malformed before its arguments begin, or never complete, becomes text,
unless a limit cut the reply. Each character is looked at a bounded number of times.

A call inside reasoning counts if the reasoning is never closed, because some models begin a call
without closing it (ADR 41). So such a call waits for the end of the reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from localrun.chat.call_region import BARE_OPENING, CallRegion, SuspectedCall
from localrun.chat.profiles.tools import NO_TOOLS, Tools
from localrun.chat.tags import ReplyTags, TagSet, tag_set
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
    """A piece of the reasoning."""

    text: str


Part = TextPart | ReasoningPart | CallPart
RECIPIENT = "to="  # in the header of a message


class _ReplyState(Enum):
    """Position in the reply, outside of call regions."""

    ANSWER = auto()
    REASONING = auto()
    CHANNEL = auto()  # in the header of a message


class StreamParser:
    """The state of one reply.

    ``prompt_tail`` is the end of the prompt, which may have opened reasoning or a call. ``tools``
    are the request's: they type the arguments that a family writes without quotes, and
    distinguish a call without tags from a JSON answer. With ``keeps_thoughts``, reasoning stays
    in the text, with its tags.
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
        self._keeps_reasoning = keeps_thoughts
        self._tools = tools or NO_TOOLS
        parses_calls = not profile.is_fallback or bool(self._tools.by_name)
        self._format = profile.tool_call if parses_calls else None
        self._region = self._format.region if self._format else None
        self._state = _ReplyState.ANSWER
        self._held = ""  # may be the beginning of a tag; shorter than a tag
        self._header = ""  # of a message
        self._call: CallRegion | None = None  # the open region
        self._call_prefix = ""  # the part of its opening that the prompt has
        self._suspect: SuspectedCall | None = None  # in reasoning
        self._reasoning_opening = ""  # as the prompt has it; emitted with kept reasoning
        self._at_start = True  # nothing but blanks, reasoning and calls so far
        self._at_reasoning_start = False
        self._is_after_call = False
        self._may_have_calls = True  # the message
        self._skip_blank = False  # line breaks after a tag belong to the template
        self._tags = ReplyTags.of(profile, self._region)
        self._start_tags = self._tags.answer
        if self._region and self._region.is_bare and self._tools.by_name:
            self._start_tags += (BARE_OPENING,)
        self._open(prompt_tail)

    def push(self, text: str) -> list[Part]:
        """Add the next piece of the reply; return the parts that are certain now."""
        return self._take(self._held + text, is_last=False)

    def finish(self, *, is_cut: bool = False) -> list[Part]:
        """Return the parts held back, at the end of the reply.

        The beginning of a tagged call is not emitted as text if a limit cut the reply (``is_cut``).
        """
        parts = self._take(self._held, is_last=True)
        if self._call:  # models may leave out the closing
            self._end_call(self._call, parts, is_cut=is_cut and not self._call.is_bare)
        elif self._suspect:
            parts += self._resolved(self._suspect.text, is_cut=is_cut)
            self._suspect = None
        elif self._state is _ReplyState.CHANNEL:
            self._state = _ReplyState.ANSWER
            self._emit("" if self._header.startswith("<") else self._header, parts)
        return parts

    def _take(self, text: str, *, is_last: bool) -> list[Part]:
        """Go from tag to tag; hold back the end if it may begin a tag."""
        parts: list[Part] = []
        start = 0
        while start < len(text):
            tags = self._awaited()
            held = len(text) if is_last else tags.partial(text, start)
            tag = tags.pattern.search(text, start)
            end = tag.start() if tag and tag.start() < held else held
            if self._suspect and self._suspect.is_refuted_by(text[start:end]):
                text, start = self._back_to_reasoning(self._suspect, parts) + text[start:], 0
                continue
            self._emit(text[start:end], parts)
            start = end
            if self._awaited() is not tags:  # the reply is no longer at its start
                continue
            if not tag or end == held:
                break
            start = self._cross(tag, parts)
        self._held = text[start:]
        if self._call:
            parts += self._call.stream()
        return parts

    def _awaited(self) -> TagSet:
        """Return the tags that have a meaning at this position."""
        if self._call:
            return self._call.awaited
        if self._suspect:
            return self._tags.reasoning
        match self._state:
            case _ReplyState.REASONING:
                return self._awaited_in_reasoning()
            case _ReplyState.CHANNEL:
                return self._tags.channel
        return self._awaited_in_answer()

    def _awaited_in_answer(self) -> TagSet:
        if not self._may_have_calls:
            answer, calls = self._tags.answer, self._tags.calls
            return tag_set(tuple(tag for tag in answer.texts if tag not in calls))
        if self._is_after_call and self._region and self._region.single:
            return self._tags.answer + (self._region.closing,)  # noqa: RUF005 - a set of tags
        return self._start_tags if self._at_start else self._tags.answer

    def _awaited_in_reasoning(self) -> TagSet:
        tags, thinking = self._tags.reasoning, self._profile.thinking
        if self._tools.by_name:
            tags += self._tags.calls
        return tags + (thinking.opening,) if thinking and self._at_reasoning_start else tags  # noqa: RUF005 - a set of tags

    def _cross(self, match: re.Match[str], parts: list[Part]) -> int:
        """Enter or leave a region at a tag; return the offset where parsing goes on."""
        tag = match.group()
        if self._call:
            if not self._call.allows(tag):
                self._end_call(self._call, parts)
                return match.start()
            if self._call.cross(tag):
                self._end_call(self._call, parts)
        elif self._state is _ReplyState.REASONING:
            self._cross_in_reasoning(tag, parts)
        elif self._state is _ReplyState.CHANNEL:
            self._cross_in_channel(tag, parts)
        else:
            self._enter(tag, parts)
        return match.end()

    def _cross_in_reasoning(self, tag: str, parts: list[Part]) -> None:
        """Leave the reasoning, begin to suspect a call in it, or drop its second opening."""
        thinking, channels = self._profile.thinking, self._profile.channels
        if tag in self._tags.calls:
            self._suspect = SuspectedCall(tag, self._tools.by_name)
            return
        if thinking and tag == thinking.opening:
            self._skip_blank = True
            return
        if self._suspect:  # the reasoning goes on behind the call, so the call is part of it
            suspected, self._suspect = self._suspect.text, None
            self._emit(suspected, parts)
        self._state, self._skip_blank = _ReplyState.ANSWER, True
        if thinking and tag == thinking.closing:
            self._keep(tag, parts)
        if channels and tag in channels.openings:
            self._enter(tag, parts)

    def _cross_in_channel(self, tag: str, parts: list[Part]) -> None:
        """Add a tag to the header of a message; at its end, begin the message."""
        channels = self._profile.channels
        self._header += tag
        if channels is None or tag != channels.end:
            return
        kind = channels.kind(self._header.removesuffix(tag))
        self._may_have_calls = not channels.has_call_messages or kind == "call"
        self._state, self._skip_blank = _ReplyState.ANSWER, True
        if kind == "thought":
            self._begin_reasoning(self._header, parts)
        elif kind == "call" and not channels.has_call_messages:
            self._begin_call(self._header[self._header.index(RECIPIENT) :], has_header=False)

    def _enter(self, tag: str, parts: list[Part]) -> None:
        """Enter the region that a tag opens, or drop the tag."""
        thinking, region, channels = self._profile.thinking, self._region, self._profile.channels
        if thinking and tag == thinking.opening:
            self._begin_reasoning(tag, parts)
        elif channels and (tag in channels.openings or tag.lstrip() == RECIPIENT):
            self._state, self._header = _ReplyState.CHANNEL, tag
        elif region and (tag in self._tags.calls or tag == BARE_OPENING):
            self._begin_call(tag, has_header=bool(region.header_end))
        else:
            self._skip_blank = self._skip_blank or self._at_start

    def _begin_reasoning(self, tag: str, parts: list[Part]) -> None:
        self._state, self._skip_blank, self._at_reasoning_start = _ReplyState.REASONING, True, True
        self._keep(tag, parts)

    def _keep(self, tag: str, parts: list[Part]) -> None:
        """Emit a tag of reasoning if reasoning stays in the text."""
        if self._keeps_reasoning and tag:
            parts.append(TextPart(self._reasoning_opening + tag))
            self._reasoning_opening, self._skip_blank = "", False

    def _begin_call(self, tag: str, *, has_header: bool) -> None:
        if self._format:
            self._call = CallRegion(tag, self._format, self._tools, has_header=has_header)

    def _end_call(self, call: CallRegion, parts: list[Part], *, is_cut: bool = False) -> None:
        """Emit the calls of a region, or its text if it has no call and was not cut."""
        prefix, self._call_prefix = self._call_prefix, ""
        self._call = None
        call_parts = call.close()
        self._skip_blank = self._is_after_call = call_parts is not None
        if call_parts is not None:
            parts += call_parts
        elif not is_cut:
            self._emit(call.text.removeprefix(prefix), parts)

    def _back_to_reasoning(self, suspect: SuspectedCall, parts: list[Part]) -> str:
        """Emit the tag of a refuted call as reasoning; return the text behind it to parse again."""
        opening, others = suspect.refuted()
        self._suspect = None
        self._emit(opening, parts)
        return others

    def _resolved(self, text: str, *, is_cut: bool) -> list[Part]:
        """Return the calls at the end of unclosed reasoning, or the text as reasoning."""
        parser = StreamParser(self._profile, tools=self._tools)
        parts = [*parser.push(text), *parser.finish(is_cut=is_cut)]
        if any(isinstance(part, CallBegun) for part in parts):
            return parts
        return [self._reasoning_part(text)]

    def _open(self, prompt_tail: str) -> None:
        """Begin inside the region that the end of the prompt opens."""
        thinking, channels = self._profile.thinking, self._profile.channels
        tail = prompt_tail.rstrip()
        if thinking and tail.endswith(thinking.opening.rstrip()):
            self._begin_reasoning("", [])
            self._reasoning_opening = prompt_tail[prompt_tail.rindex(thinking.opening.rstrip()) :]
            self._skip_blank = not self._keeps_reasoning
            return
        for opening in channels.openings if channels else ():
            if tail.endswith(opening):
                self._start_tags += (RECIPIENT, f" {RECIPIENT}")
        for opening in self._region.openings if self._region else ():
            if tail.endswith(opening):
                self._held = self._call_prefix = opening

    def _emit(self, text: str, parts: list[Part]) -> None:
        """Add text to the open region, or emit it as a part."""
        if self._call:
            self._call.add(text)
        elif self._suspect:
            self._suspect.add(text)
        elif self._state is _ReplyState.CHANNEL:
            self._header += text
        else:
            self._emit_text(text, parts)

    def _emit_text(self, text: str, parts: list[Part]) -> None:
        if self._skip_blank:
            text = text.lstrip("\r\n")
            self._skip_blank = not text
        if not text:
            return
        is_blank = not text.strip()
        if self._state is _ReplyState.REASONING:
            self._at_reasoning_start = self._at_reasoning_start and is_blank
            parts.append(self._reasoning_part(text))
        else:
            self._at_start = self._at_start and is_blank
            self._is_after_call = self._is_after_call and is_blank
            parts.append(TextPart(text))

    def _reasoning_part(self, text: str) -> Part:
        if not self._keeps_reasoning:
            return ReasoningPart(text)
        opening, self._reasoning_opening = self._reasoning_opening, ""
        return TextPart(opening + text)
