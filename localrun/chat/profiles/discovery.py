"""Profile of a model, found by rendering probes of its template.

A template that contains a family's mark makes the family a candidate. The right candidate is the
one that parses the probe's call from the rendered text. If none does, the format is inferred from
the rendered call (``derivation.py``). If the template renders no calls, its text decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.chat.budget import Allowance
from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.derivation import derived, inserted, refined
from localrun.chat.profiles.families import CHANNELS, DROPPED, FAMILIES, HERMES, REASONING_TAGS
from localrun.chat.profiles.probe import CALLS, NAME, THOUGHT, TOOLS, Probe, probe_of
from localrun.chat.profiles.profile import Profile
from localrun.chat.stream_parser import StreamParser, TextPart
from localrun.chat.tool_calls import calls_of

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
    from localrun.chat.profiles.profile import Channels
    from localrun.chat.stream_parser import Part
    from localrun.chat.template import TemplateCode
    from localrun.chat.tool_calls import ToolCall


FALLBACK = Profile(tool_call=HERMES, is_fallback=True)


def discovered_profile(
    template: str | None, allowance: Allowance | None = None, code: TemplateCode | None = None
) -> Profile:
    """Return the profile of a template's source; its renders are charged to the allowance.

    ``code`` is the template's, if it is compiled already.

    Raises:
        RequestTooCostlyError: the allowance is used up.
    """
    if not template:
        return FALLBACK
    probe = probe_of(code or template, allowance or Allowance())
    texts = template + probe.with_call + probe.with_thought
    thinking = reasoning_tags_in(probe.with_thought) or reasoning_tags_in(texts)
    return Profile(
        thinking=thinking,
        tool_call=_tool_call(template, probe),
        dropped=dropped_in(texts),
        prompt_tail=probe.prompt_tail,
        is_fallback=not supports_tools(template),
        thought_end=_thought_end(thinking.closing, probe) if thinking else "",
        channels=channels_in(template + probe.with_thought),
    )


def reasoning_tags_in(text: str) -> Tags | None:
    """Return the reasoning tags that a text mentions, or None."""
    return next(
        (tags for tags in REASONING_TAGS if tags.opening in text and tags.closing in text), None
    )


def channels_in(text: str) -> Channels | None:
    """Return the channels whose headers a text mentions, or None."""
    return next((channels for mark, channels in CHANNELS.items() if mark in text), None)


def dropped_in(text: str) -> tuple[str, ...]:
    """Return the tags around answers that a text mentions."""
    return tuple(tag for mark, tags in DROPPED.items() if mark in text for tag in tags)


def candidates(template: str, rendered: str = "") -> list[ToolCallFormat]:
    """Return the tool-call formats that a template may have, the likeliest first."""
    if not supports_tools(template):
        return [HERMES]
    return [family.form for family in FAMILIES if family.mark in template + rendered]


def _tool_call(template: str, probe: Probe) -> ToolCallFormat | None:
    formats = candidates(template, probe.with_call)
    if NAME not in probe.with_call:
        return next(iter(formats), None)
    matching = [candidate for candidate in formats if _reads(candidate, probe)]
    if matching:
        return refined(min(matching, key=lambda candidate: _num_unparsed(candidate, probe)), probe)
    inferred = derived(probe)
    return refined(inferred, probe) if inferred and _reads(inferred, probe) else None


def _thought_end(closing: str, probe: Probe) -> str:
    rendered = re.search(rf"\s*{re.escape(closing)}\s*", probe.with_thought.rpartition(THOUGHT)[2])
    if rendered:
        return rendered.group()
    return f"\n{closing}\n\n" if closing.startswith("</") else closing  # as most templates do


def _reads(call_format: ToolCallFormat, probe: Probe) -> bool:
    """Return whether a format parses the probe's call from the rendered text.

    The rendered text may have more before the call than a reply, and text of the next turn after
    it, so the call alone is tried, too.
    """
    return any(_calls(call_format, text) == CALLS for text in (probe.with_call, inserted(probe)))


def _num_unparsed(call_format: ToolCallFormat, probe: Probe) -> int:
    """Return the characters of the call that remain text: tags of a section that it lacks."""
    parts = _parts(call_format, inserted(probe))
    return sum(len(part.text.strip()) for part in parts if isinstance(part, TextPart))


def _calls(call_format: ToolCallFormat, text: str) -> list[ToolCall]:
    return calls_of(_parts(call_format, text))


def _parts(call_format: ToolCallFormat, text: str) -> list[Part]:
    parser = StreamParser(Profile(tool_call=call_format), tools=TOOLS)
    return [*parser.push(text), *parser.finish()]
