"""Droid: Factory's agent; ``customModels`` in ``~/.factory/settings.json``.

https://docs.factory.ai/model-independence/byok; ``--settings FILE`` adds settings to one run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE
from localrun.integrations.tool import OWN_FOLDER, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

SHOWN = "localrun"
ID = "custom:localrun"
FILE = "droid-settings.json"


def _model(target: Target) -> dict[str, Json]:
    chat = target.chat
    return {
        "model": chat.name,
        "id": ID,
        "index": 0,
        "baseUrl": target.openai_url,
        "apiKey": target.key(f"${{{KEY_VARIABLE}}}"),
        "provider": "generic-chat-completion-api",
        "maxContextLimit": chat.context,
        "maxOutputTokens": chat.max_output,
        "noImageSupport": not chat.sees,
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    edits = (
        Edit(path=("customModels", Item("displayName", SHOWN)), value=_model(target)),
        Edit(path=("sessionDefaultSettings", "model"), value=ID),
    )
    return (FileSettings(path=places.home / ".factory" / "settings.json", edits=edits),)


def _launch(target: Target) -> Launch:
    content = {
        "customModels": [{"displayName": SHOWN, **_model(target)}],
        "sessionDefaultSettings": {"model": ID},
    }
    return Launch(
        arguments=("--settings", f"{OWN_FOLDER}/{FILE}"),
        files={FILE: json.dumps(content, indent=2)},
    )


TOOL = Integration(
    name="droid",
    title="Droid",
    checked="0.215.0",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="droid",
    install=(("npm", "install", "-g", "droid"),),
    settings=_settings,
    launch=_launch,
)
