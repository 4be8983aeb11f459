"""OpenClaw: ``~/.openclaw/openclaw.json``, which is JSON5.

A provider of any name with OpenAI's API: https://docs.openclaw.ai/gateway/configuration
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    chat = target.chat
    model: dict[str, Json] = {
        "id": chat.name,
        "name": chat.name,
        "reasoning": chat.thinks,
        "input": ["text", "image"] if chat.sees else ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": chat.context,
        "maxTokens": chat.max_output,
    }
    provider: dict[str, Json] = {
        "baseUrl": target.openai_url,
        "api": "openai-completions",
        "apiKey": target.key(f"${{{KEY_VARIABLE}}}"),
        "models": [model],
    }
    edits = (
        Edit(path=("models", "mode"), value="merge", is_default=True),
        Edit(path=("models", "providers", PROVIDER), value=provider),
        Edit(path=("agents", "defaults", "model", "primary"), value=f"{PROVIDER}/{chat.name}"),
    )
    folder = places.named("OPENCLAW_STATE_DIR", places.home / ".openclaw")
    return (FileSettings(path=folder / "openclaw.json", edits=edits),)


TOOL = Integration(
    name="openclaw",
    title="OpenClaw",
    checked="documentation of September 2026",
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="openclaw",
    install=(("npm", "install", "-g", "openclaw"),),
    settings=_settings,
    launch=lambda _: Launch(arguments=("tui",)),
    launch_needs_settings=True,
)
