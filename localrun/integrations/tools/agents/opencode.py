"""opencode: an agent whose configuration may come whole from ``OPENCODE_CONFIG_CONTENT``.

``~/.config/opencode/opencode.json``: https://opencode.ai/docs/providers
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

SCHEMA = "https://opencode.ai/config.json"


def _provider(target: Target) -> dict[str, Json]:
    chat = target.chat
    inputs: list[Json] = ["text", "image"] if chat.sees else ["text"]
    model: dict[str, Json] = {
        "name": chat.name,
        "limit": {"context": chat.context, "output": chat.max_output},
        "tool_call": chat.calls_tools,
        "modalities": {"input": inputs, "output": ["text"]},
    }
    options: dict[str, Json] = {
        "baseURL": target.openai_url,
        "apiKey": target.key(f"{{env:{KEY_VARIABLE}}}"),
    }
    return {
        "npm": "@ai-sdk/openai-compatible",
        "name": PROVIDER,
        "options": options,
        "models": {chat.name: model},
    }


def _choice(target: Target) -> dict[str, Json]:
    name = f"{PROVIDER}/{target.chat.name}"
    return {"model": name, "small_model": name}


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.config / "opencode"
    path = places.first(folder / "opencode.json", folder / "opencode.jsonc")
    edits = (
        Edit(path=("$schema",), value=SCHEMA, is_default=True),
        Edit(path=("provider", PROVIDER), value=_provider(target)),
        *(Edit(path=(name,), value=value) for name, value in _choice(target).items()),
    )
    return (FileSettings(path=path, edits=edits),)


def _launch(target: Target) -> Launch:
    content = {"$schema": SCHEMA, "provider": {PROVIDER: _provider(target)}, **_choice(target)}
    return Launch(environment={"OPENCODE_CONFIG_CONTENT": json.dumps(content)})


TOOL = Integration(
    name="opencode",
    title="opencode",
    checked="1.18.33",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="opencode",
    install=(("npm", "install", "-g", "opencode-ai"),),
    settings=_settings,
    launch=_launch,
)
