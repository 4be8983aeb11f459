"""pi: ``~/.pi/agent/models.json``, whose ``apiKey`` may be the name of a variable.

It has no variable for an address; an extension in a file registers the provider for one run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import OWN_FOLDER, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

FILE = "pi-provider.mjs"
EXTENSION = """\
export default function (pi) {{
  pi.registerProvider({name}, {provider});
}}
"""


def _provider(target: Target) -> dict[str, Json]:
    chat = target.chat
    free: dict[str, Json] = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
    model: dict[str, Json] = {
        "id": chat.name,
        "name": f"{chat.name} (localrun)",
        "reasoning": chat.thinks,
        "input": ["text", "image"] if chat.sees else ["text"],
        "contextWindow": chat.context,
        "maxTokens": chat.max_output,
        "cost": free,
    }
    return {
        "baseUrl": target.openai_url,
        "api": "openai-completions",
        "apiKey": target.key(KEY_VARIABLE),
        "models": [model],
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.named("PI_CODING_AGENT_DIR", places.home / ".pi" / "agent")
    models = Edit(path=("providers", PROVIDER), value=_provider(target))
    choice = (
        Edit(path=("defaultProvider",), value=PROVIDER),
        Edit(path=("defaultModel",), value=target.chat.name),
    )
    return (
        FileSettings(path=folder / "models.json", edits=(models,)),
        FileSettings(path=folder / "settings.json", edits=choice),
    )


def _launch(target: Target) -> Launch:
    extension = EXTENSION.format(
        name=json.dumps(PROVIDER), provider=json.dumps(_provider(target), indent=2)
    )
    choice = ("--provider", PROVIDER, "--model", target.chat.name)
    return Launch(arguments=("-e", f"{OWN_FOLDER}/{FILE}", *choice), files={FILE: extension})


TOOL = Integration(
    name="pi",
    title="pi",
    checked="0.73.1",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="pi",
    install=(("npm", "install", "-g", "@earendil-works/pi-coding-agent"),),
    settings=_settings,
    launch=_launch,
)
