"""Profile of a model by its template's text alone, without rendering.

The server uses it, because it never renders templates, until the runner sends the profile that
``discovery.py`` finds. This module imports no Jinja.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from localrun.chat.fallback import supports_tools
from localrun.chat.profiles.families import CHANNELS, DROPPED, FAMILIES, HERMES, REASONING_TAGS
from localrun.chat.profiles.profile import Profile

if TYPE_CHECKING:
    from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
    from localrun.chat.profiles.profile import Channels

FALLBACK = Profile(tool_call=HERMES, is_fallback=True)
MAX_KEPT = 64


class _ProfileCache:
    """The profiles of the templates used last, by digest: templates are long, and clients' too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the dictionary; no other lock is taken under it
        self._profiles: OrderedDict[bytes, Profile] = OrderedDict()

    def profile(self, template: str) -> Profile:
        """Return the profile of a template's source."""
        digest = hashlib.sha256(template.encode(errors="surrogatepass")).digest()
        with self._lock:
            profile = self._profiles.pop(digest, None)
        profile = profile or recognized_profile(template)
        with self._lock:
            self._profiles[digest] = profile  # the last used is the last
            if len(self._profiles) > MAX_KEPT:
                self._profiles.popitem(last=False)
        return profile


def profile_of(template: str | None) -> Profile:
    """Return the profile of a template's source, the likeliest if several fit."""
    return _CACHE.profile(template) if template else FALLBACK


def recognized_profile(template: str) -> Profile:
    """Return the profile of a template's source, without the cache."""
    return Profile(
        thinking=reasoning_tags_in(template),
        tool_call=next(iter(candidates(template)), None),
        dropped=dropped_in(template),
        is_fallback=not supports_tools(template),
        channels=channels_in(template),
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


_CACHE = _ProfileCache()
