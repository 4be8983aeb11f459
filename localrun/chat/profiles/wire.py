r"""JSON form of a profile, for the runner's message to the server.

{"thinking": {"opening": "<think>", "closing": "</think>"}, "dropped": [],
 "tool_call": {"form": "JsonCalls", "opening": "<tool_call>\\n", ...}, ...}
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.formats.format import Tags
from localrun.chat.profiles.formats.gemma_calls import GemmaCalls
from localrun.chat.profiles.formats.json_calls import JsonCalls
from localrun.chat.profiles.formats.named_calls import NamedCalls
from localrun.chat.profiles.formats.python_calls import PythonCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.profile import Channels, Profile

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject

_Format = GemmaCalls | JsonCalls | NamedCalls | PythonCalls | TaggedCalls
_FORMATS: dict[str, type[_Format]] = {
    kind.__name__: kind for kind in (GemmaCalls, JsonCalls, NamedCalls, PythonCalls, TaggedCalls)
}


def profile_to_json(profile: Profile) -> dict[str, Any]:
    """Return the JSON object of a profile."""
    call_format = profile.tool_call
    tool_call = None
    if isinstance(call_format, _Format):
        names = (field.name for field in fields(call_format))
        values = {name: _plain(getattr(call_format, name)) for name in names}
        tool_call = {"form": type(call_format).__name__, **values}
    return {
        "thinking": _plain(profile.thinking),
        "tool_call": tool_call,
        "dropped": list(profile.dropped),
        "prompt_tail": profile.prompt_tail,
        "is_fallback": profile.is_fallback,
        "thought_end": profile.thought_end,
        "channels": _plain(profile.channels),
    }


def profile_from_json(stated: JsonObject) -> Profile:
    """Return the profile of a JSON object that `profile_to_json` made."""
    tool_call = dict(stated["tool_call"] or {})
    call_format = _FORMATS[tool_call.pop("form")] if tool_call else None
    values = {key: _field(key, value) for key, value in tool_call.items()}
    return Profile(
        thinking=_tags(stated["thinking"]),
        tool_call=call_format(**values) if call_format else None,
        dropped=tuple(stated["dropped"]),
        prompt_tail=stated["prompt_tail"],
        is_fallback=stated["is_fallback"],
        thought_end=stated["thought_end"],
        channels=_channels(stated["channels"]),
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - the value of any field
    if isinstance(value, Tags | Channels):
        return asdict(value)
    return sorted(value) if isinstance(value, frozenset) else value


def _field(key: str, value: Any) -> Any:  # noqa: ANN401
    match key:
        case "section" | "quote":
            return _tags(value)
        case "ignored":
            return frozenset(value)
        case "other_openings" | "other_heads":
            return tuple(value)
    return value


def _channels(value: Any) -> Channels | None:  # noqa: ANN401
    return Channels(**{**value, "openings": tuple(value["openings"])}) if value else None


def _tags(value: Any) -> Tags | None:  # noqa: ANN401
    return Tags(**value) if value else None
