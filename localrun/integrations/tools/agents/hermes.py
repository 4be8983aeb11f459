"""Hermes Agent: ``~/.hermes/config.yaml`` with a named provider.

``key_env`` names the variable of a key. Hermes wants a context of 64k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import KEY_VARIABLE, NO_KEY, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

CONTEXT = 65536


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    chat = target.chat
    key: dict[str, Json] = {"api_key": "" if target.needs_key else NO_KEY}
    if target.needs_key:
        key["key_env"] = KEY_VARIABLE  # counts if the key is empty
    provider: dict[str, Json] = {
        "name": PROVIDER,
        "base_url": target.openai_url,
        **key,
        "model": chat.name,
        "models": {chat.name: {"context_length": chat.context}},
    }
    choice: dict[str, Json] = {
        "provider": PROVIDER,
        "default": chat.name,
        "base_url": target.openai_url,
        "context_length": chat.context,
        "api_key": "" if target.needs_key else NO_KEY,
    }
    edits = (
        Edit(path=("model",), value=choice),
        Edit(path=("providers", PROVIDER), value=provider),
    )
    folder = places.named("HERMES_HOME", places.home / ".hermes")
    path = folder / "config.yaml"
    return (FileSettings(path=path, edits=edits, format=FileFormat.YAML),)


TOOL = Integration(
    name="hermes",
    title="Hermes Agent",
    checked="0.19.0",
    is_started=True,
    needs_tools=True,
    context=CONTEXT,
    probes=(ProbeKind.MODELS, ProbeKind.CHAT_TOOLS),
    program="hermes",
    install=(
        ("uv", "tool", "install", "hermes-agent"),
        ("pipx", "install", "hermes-agent"),
    ),
    settings=_settings,
    launch=lambda _: Launch(),
    launch_needs_settings=True,
)
