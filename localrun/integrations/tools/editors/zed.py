"""Zed: ``settings.json``, which has comments.

https://zed.dev/docs/ai/use-api-access. Zed reads a key from the variable that is named after the
provider: ``LOCALRUN_API_KEY`` for a provider named localrun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import KEY_VARIABLE, PROVIDER, ModelRole
from localrun.integrations.tool import FileSettings, Integration, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

MOST_PREDICTED = 64


def _model(target: Target) -> dict[str, Json]:
    chat = target.chat
    return {
        "display_name": f"{chat.name} (localrun)",
        "max_tokens": chat.context,
        "max_output_tokens": chat.max_output,
        "capabilities": {
            "tools": chat.calls_tools,
            "images": chat.sees,
            "parallel_tool_calls": chat.calls_tools,
            "prompt_cache_key": False,
        },
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.config / "zed"
    if places.platform == "win32":
        folder = places.applications / "Zed"
    elif places.platform == "darwin":
        folder = places.home / ".config" / "zed"
    provider = ("language_models", "openai_compatible", PROVIDER)
    edits = [
        Edit(path=(*provider, "api_url"), value=target.openai_url),
        Edit(
            path=(*provider, "available_models", Item("name", target.chat.name)),
            value=_model(target),
        ),
        Edit(
            path=("agent", "default_model"),
            value={"provider": PROVIDER, "model": target.chat.name},
        ),
    ]
    if target.autocomplete is not None:
        predictions: dict[str, Json] = {
            "api_url": f"{target.openai_url}/completions",
            "model": target.autocomplete.name,
            "prompt_format": "infer",
            "max_output_tokens": MOST_PREDICTED,
        }
        service = "open_ai_compatible_api"
        edits.append(Edit(path=("edit_predictions", "provider"), value=service))
        edits.append(Edit(path=("edit_predictions", service), value=predictions))
    return (FileSettings(path=folder / "settings.json", edits=tuple(edits)),)


TOOL = Integration(
    name="zed",
    title="Zed",
    checked="documentation of September 2026",
    roles=(ModelRole.CHAT, ModelRole.AUTOCOMPLETE),
    needs_tools=True,
    context=8192,
    probes=(ProbeKind.CHAT_TOOLS, ProbeKind.COMPLETIONS),
    settings=_settings,
    key_note=f"start Zed with {KEY_VARIABLE} set, or type the key in its settings",
)
