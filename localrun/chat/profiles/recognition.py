"""Marks in a template's text that show how its model writes reasoning and tool calls.

The text alone is ambiguous; `discovered_profile` (``discovery.py``) also renders the template.
This module imports no Jinja.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.families import CHANNELS, DROPPED, FAMILIES, HERMES, REASONING_TAGS
from localrun.chat.profiles.profile import Profile

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
    from localrun.chat.profiles.profile import Channels

FALLBACK = Profile(tool_call=HERMES, is_fallback=True)


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
