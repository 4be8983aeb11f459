"""Visual Studio Code: the models of its chat, by the provider "custom endpoint".

``chatLanguageModels.json`` beside the user's ``settings.json``:
https://code.visualstudio.com/docs/agent-customization/language-models. Keys are inputs of VS Code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import PROVIDER
from localrun.integrations.tool import FileSettings, Integration, ProbeKind

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

KEY_INPUT = "${input:localrunApiKey}"


def user_folder(places: Places) -> Path:
    """Return the folder of the user's settings."""
    return places.applications / "Code" / "User"


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    chat, provider = target.chat, Item("name", PROVIDER)
    edits = (
        Edit(
            path=(provider,),
            value={
                "vendor": "customendpoint",
                "apiKey": target.key(KEY_INPUT),
                "apiType": "chat-completions",
            },
        ),
        Edit(
            path=(provider, "models", Item("id", chat.name)),
            value={
                "name": f"{chat.name} (localrun)",
                "url": f"{target.openai_url}/chat/completions",
                "toolCalling": chat.calls_tools,
                "vision": chat.sees,
                "thinking": chat.thinks,
                "maxInputTokens": chat.context - chat.max_output,
                "maxOutputTokens": chat.max_output,
            },
        ),
    )
    return (FileSettings(path=user_folder(places) / "chatLanguageModels.json", edits=edits),)


TOOL = Integration(
    name="vscode",
    title="Visual Studio Code",
    checked="documentation of October 2026",
    needs_tools=True,
    context=16384,
    probes=(ProbeKind.CHAT_TOOLS,),
    settings=_settings,
    key_note="VS Code asks for the key when it uses the model first",
)
