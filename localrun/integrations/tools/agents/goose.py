"""goose: ``config.yaml`` and a file for the provider, or variables.

The folder is ``~/.config/goose``, on Windows ``Block/goose/config`` in ``%APPDATA%``:
https://goose-docs.ai
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import KEY, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

TIMEOUT_S = 600


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.config / "goose"
    if places.platform == "win32":
        folder = places.applications / "Block" / "goose" / "config"
    choice = (
        Edit(path=("GOOSE_PROVIDER",), value=PROVIDER),
        Edit(path=("GOOSE_MODEL",), value=target.chat.name),
        Edit(path=("GOOSE_CONTEXT_LIMIT",), value=target.chat.context),
    )
    fields: dict[str, Json] = {
        "name": PROVIDER,
        "engine": "openai",
        "display_name": "localrun",
        "description": "localrun on this machine",
        "api_key_env": KEY_VARIABLE if target.needs_key else "",
        "base_url": f"{target.openai_url}/chat/completions",
        "requires_auth": target.needs_key,
        "supports_streaming": True,
        "timeout_seconds": TIMEOUT_S,
    }
    provider = (
        *(Edit(path=(name,), value=value) for name, value in fields.items()),
        Edit(
            path=("models", Item("name", target.chat.name)),
            value={"context_limit": target.chat.context},
        ),
    )
    return (
        FileSettings(path=folder / "custom_providers" / f"{PROVIDER}.json", edits=provider),
        FileSettings(path=folder / "config.yaml", edits=choice, format=FileFormat.YAML),
    )


def _launch(target: Target) -> Launch:
    return Launch(
        environment={
            "GOOSE_PROVIDER": "openai",
            "GOOSE_MODEL": target.chat.name,
            "GOOSE_CONTEXT_LIMIT": str(target.chat.context),
            "OPENAI_HOST": target.url,
            "OPENAI_BASE_PATH": "v1/chat/completions",
            "OPENAI_API_KEY": KEY,
            "OPENAI_TIMEOUT": str(TIMEOUT_S),
        },
        unset=("OPENAI_BASE_URL",),
    )


TOOL = Integration(
    name="goose",
    title="goose",
    checked="documentation of 2026",
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.MODELS, ProbeKind.CHAT_TOOLS),
    program="goose",
    settings=_settings,
    launch=_launch,
)
