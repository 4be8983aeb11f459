"""Tell by a template's text alone how its model writes thoughts and tool calls.

The server does so, which never renders a template; the runner looks closer
(``discovery.py``) and says what it found when a request starts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.families import CHANNELS, DROPPED, FAMILIES, HERMES, THINKING
from localrun.chat.profiles.profile import Profile

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
    from localrun.chat.profiles.profile import Channels

FALLBACK = Profile(tool_call=HERMES, is_fallback=True)


@lru_cache(64)
def profile_of(template: str | None) -> Profile:
    """Return the profile of a template's source, the likeliest where several fit."""
    if not template:
        return FALLBACK
    return Profile(
        thinking=thinking_in(template),
        tool_call=next(iter(candidates(template)), None),
        dropped=dropped_in(template),
        is_fallback=not supports_tools(template),
        channels=channels_in(template),
    )


def thinking_in(text: str) -> Tags | None:
    """Return the tags of thoughts that a text names."""
    return next((tags for tags in THINKING if tags.opening in text and tags.closing in text), None)


def channels_in(text: str) -> Channels | None:
    """Return how messages of a reply are headed, where a text names such headers."""
    return next((channels for mark, channels in CHANNELS.items() if mark in text), None)


def dropped_in(text: str) -> tuple[str, ...]:
    """Return the tags of a text that are no part of an answer."""
    return tuple(tag for mark, tags in DROPPED.items() if mark in text for tag in tags)


def candidates(template: str, rendered: str = "") -> list[ToolCallFormat]:
    """Return the forms of calls that a template may have, the likeliest first."""
    if not supports_tools(template):
        return [HERMES]
    return [family.form for family in FAMILIES if family.mark in template + rendered]
