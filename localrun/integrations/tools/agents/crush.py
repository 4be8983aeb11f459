"""Crush: ``~/.config/crush/crush.json``; a key is named ``$NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    chat = target.chat
    provider: dict[str, Json] = {
        "name": PROVIDER,
        "type": "openai-compat",
        "base_url": target.openai_url,
        "api_key": target.key(f"${KEY_VARIABLE}"),
    }
    model: dict[str, Json] = {
        "name": f"{chat.name} (localrun)",
        "context_window": chat.context,
        "default_max_tokens": chat.max_output,
        "can_reason": chat.thinks,
        "supports_attachments": chat.sees,
    }
    choice: dict[str, Json] = {"provider": PROVIDER, "model": chat.name}
    entry = ("providers", PROVIDER)
    edits = (
        Edit(path=("$schema",), value="https://charm.land/crush.json", is_default=True),
        Edit(path=entry, value=provider),
        Edit(path=(*entry, "models", Item("id", chat.name)), value=model),
        Edit(path=("models", "large"), value=choice),
        Edit(path=("models", "small"), value=dict(choice)),
    )
    folder = places.config if places.platform != "win32" else places.home / ".config"
    return (FileSettings(path=folder / "crush" / "crush.json", edits=edits),)


TOOL = Integration(
    name="crush",
    title="Crush",
    checked="documentation of 2026",
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="crush",
    install=(("npm", "install", "-g", "@charmland/crush"),),
    settings=_settings,
    launch=lambda _: Launch(),
    launch_needs_settings=True,
)
