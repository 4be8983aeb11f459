"""How a model family writes thoughts and tool calls, found from its template.

A profile is a value: the tags to look for. The family of Hermes and Qwen, to
which guide belongs, is the one known so far; a template that names none of its
tags gives a profile under which a reply is text and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tags:
    """What begins and ends a region of a reply."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The regions that a model's replies may have."""

    thinking: Tags | None = None
    tool_call: Tags | None = None


HERMES_THINKING = Tags("<think>", "</think>")
HERMES_TOOL_CALL = Tags("<tool_call>", "</tool_call>")


def profile_of(template: str | None) -> Profile:
    """Return the profile of a template's source."""
    source = template or ""
    return Profile(
        thinking=HERMES_THINKING if HERMES_THINKING.closing in source else None,
        tool_call=HERMES_TOOL_CALL if HERMES_TOOL_CALL.opening in source else None,
    )
