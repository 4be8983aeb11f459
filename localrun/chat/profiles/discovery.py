"""Find out once per template how its model writes thoughts and tool calls.

By text: a template that has a family's mark makes the family a candidate. By
rendering: the candidate that reads a call back from what the template writes is the
right one. A template that writes calls in a way nobody has seen is taken apart
(``derivation.py``); one that writes none is judged by its text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.chat.budget import Allowance
from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.derivation import derived, inserted, refined
from localrun.chat.profiles.probe import CALLS, NAME, THOUGHT, TOOLS, Probe, probe_of
from localrun.chat.profiles.profile import Profile
from localrun.chat.profiles.recognition import (
    FALLBACK,
    candidates,
    channels_in,
    dropped_in,
    thinking_in,
)
from localrun.chat.stream_parser import StreamParser, TextPart
from localrun.chat.tool_calls import calls_of

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import ToolCallFormat
    from localrun.chat.stream_parser import Part
    from localrun.chat.tool_calls import ToolCall


def discovered_profile(template: str | None, allowance: Allowance | None = None) -> Profile:
    """Return the profile of a template's source; its renders are charged to the allowance.

    Raises:
        RequestTooCostlyError: the allowance is used up.
    """
    if not template:
        return FALLBACK
    probe = probe_of(template, allowance or Allowance())
    seen = template + probe.with_call + probe.with_thought
    thinking = thinking_in(probe.with_thought) or thinking_in(seen)
    return Profile(
        thinking=thinking,
        tool_call=_tool_call(template, probe),
        dropped=dropped_in(seen),
        prompt_tail=probe.prompt_tail,
        is_fallback=not supports_tools(template),
        thought_end=_thought_end(thinking.closing, probe) if thinking else "",
        channels=channels_in(template + probe.with_thought),
    )


def _tool_call(template: str, probe: Probe) -> ToolCallFormat | None:
    forms = candidates(template, probe.with_call)
    if NAME not in probe.with_call:
        return next(iter(forms), None)
    reading = [form for form in forms if _reads(form, probe)]
    if reading:
        return refined(min(reading, key=lambda form: _num_left(form, probe)), probe)
    form = derived(probe)
    return refined(form, probe) if form and _reads(form, probe) else None


def _thought_end(closing: str, probe: Probe) -> str:
    written = re.search(rf"\s*{re.escape(closing)}\s*", probe.with_thought.rpartition(THOUGHT)[2])
    if written:
        return written.group()
    return f"\n{closing}\n\n" if closing.startswith("</") else closing  # as most have it


def _reads(form: ToolCallFormat, probe: Probe) -> bool:
    """Return whether a form finds the probe's call in what the template wrote.

    That may have more before the call than a reply has, and after it what is not the
    reply's: so the call alone is tried, too.
    """
    return any(_calls(form, text) == CALLS for text in (probe.with_call, inserted(probe)))


def _num_left(form: ToolCallFormat, probe: Probe) -> int:
    """Return how much of the call a form leaves as text: the tags of a section that it lacks."""
    parts = _parts(form, inserted(probe))
    return sum(len(part.text.strip()) for part in parts if isinstance(part, TextPart))


def _calls(form: ToolCallFormat, text: str) -> list[ToolCall]:
    return calls_of(_parts(form, text))


def _parts(form: ToolCallFormat, text: str) -> list[Part]:
    parser = StreamParser(Profile(tool_call=form), tools=TOOLS)
    return [*parser.push(text), *parser.finish()]
