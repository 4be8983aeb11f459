"""Profiles by a template's text alone, for tests without a template that renders."""

from __future__ import annotations

from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.discovery import (
    FALLBACK,
    candidates,
    channels_in,
    dropped_in,
    reasoning_tags_in,
)
from localrun.chat.profiles.profile import Profile


def profile_of(template: str | None) -> Profile:
    """Return the profile of a template's source, the likeliest if several fit."""
    if not template:
        return FALLBACK
    return Profile(
        thinking=reasoning_tags_in(template),
        tool_call=next(iter(candidates(template)), None),
        dropped=dropped_in(template),
        is_fallback=not supports_tools(template),
        channels=channels_in(template),
    )
