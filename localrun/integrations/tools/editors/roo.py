"""Roo Code: an extension of VS Code that imports its settings from a file at each start.

Its own settings are in VS Code's secret storage. ``roo-cline.autoImportSettingsPath`` in VS Code's
``settings.json`` names the file to import; the file has the form of Roo's own export.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, NO_KEY, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, ProbeKind
from localrun.integrations.tools.editors.vscode import user_folder

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _profile(target: Target) -> dict[str, Json]:
    chat = target.chat
    return {
        "id": PROVIDER,
        "apiProvider": "openai",
        "openAiBaseUrl": target.openai_url,
        "openAiModelId": chat.name,
        "openAiStreamingEnabled": True,
        "openAiCustomModelInfo": {
            "contextWindow": chat.context,
            "maxTokens": chat.max_output,
            "supportsImages": chat.sees,
            "supportsPromptCache": False,
            "inputPrice": 0,
            "outputPrice": 0,
        },
        **({} if target.needs_key else {"openAiApiKey": NO_KEY}),
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    imported = places.home / ".config" / "roo-code-settings.json"
    profiles = (
        Edit(path=("providerProfiles", "currentApiConfigName"), value=PROVIDER),
        Edit(path=("providerProfiles", "apiConfigs", PROVIDER), value=_profile(target)),
        Edit(path=("globalSettings",), value={}, is_default=True),
    )
    import_path = Edit(path=("roo-cline.autoImportSettingsPath",), value=str(imported))
    return (
        FileSettings(path=imported, edits=profiles),
        FileSettings(path=user_folder(places) / "settings.json", edits=(import_path,)),
    )


TOOL = Integration(
    name="roo",
    title="Roo Code",
    checked="documentation of 2026",
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    settings=_settings,
    key_note="type the key in Roo Code's settings: its file cannot name a variable",
)
