"""n8n: a credential of the type OpenAI, imported by ``n8n import:credentials``.

The file is ours; n8n encrypts what it imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import KEY_VARIABLE, PROVIDER, ModelRole
from localrun.integrations.tool import FileSettings, Integration, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

FILE = "localrun-credentials.json"


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    fields = Edit(
        path=(Item("id", PROVIDER),),
        value={
            "name": "localrun",
            "type": "openAiApi",
            "data": {
                "apiKey": target.key(f"={{{{ $env.{KEY_VARIABLE} }}}}"),
                "url": target.openai_url,
            },
        },
    )
    folder = places.named("N8N_USER_FOLDER", places.home) / ".n8n"
    return (FileSettings(path=folder / FILE, edits=(fields,)),)


def _steps(target: Target) -> tuple[str, ...]:
    return (
        f"n8n import:credentials --input ~/.n8n/{FILE}",
        "In a workflow: OpenAI Chat Model, with the credential localrun.",
        f"Model: By ID: {target.chat.name}; without Use Responses API",
    )


TOOL = Integration(
    name="n8n",
    title="n8n",
    checked="documentation of 2026",
    roles=(ModelRole.CHAT, ModelRole.EMBED),
    context=8192,
    probes=(ProbeKind.MODELS, ProbeKind.CHAT_TOOLS, ProbeKind.EMBEDDINGS),
    settings=_settings,
    steps=_steps,
)
