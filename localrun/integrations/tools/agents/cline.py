"""Cline: an agent for VS Code, JetBrains and the terminal.

``~/.cline/data/settings/providers.json``, as ``cline auth`` writes it. A key cannot be referred to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, NO_KEY
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

SERVICE = "openai-compatible"
EPOCH = "2026-01-01T00:00:00.000Z"  # of an entry that Cline did not write


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    settings: dict[str, Json] = {
        "provider": SERVICE,
        "model": target.chat.name,
        "baseUrl": target.openai_url,
    }
    if not target.needs_key:
        settings["apiKey"] = NO_KEY
    entry = ("providers", SERVICE)
    edits = (
        Edit(path=("version",), value=1, is_default=True),
        Edit(path=("lastUsedProvider",), value=SERVICE),
        Edit(path=("modes",), value={}, is_default=True),
        Edit(path=(*entry, "settings"), value=settings),
        Edit(path=(*entry, "updatedAt"), value=EPOCH, is_default=True),
        Edit(path=(*entry, "tokenSource"), value="manual"),
    )
    path = places.home / ".cline" / "data" / "settings" / "providers.json"
    return (FileSettings(path=path, edits=edits),)


def _launch(target: Target) -> Launch:
    return Launch(arguments=("--provider", SERVICE, "--model", target.chat.name))


TOOL = Integration(
    name="cline",
    title="Cline",
    checked="3.0.65",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="cline",
    install=(("npm", "install", "-g", "cline"),),
    settings=_settings,
    launch=_launch,
    launch_needs_settings=True,
    key_note=f"cline auth -p {SERVICE} -k KEY   its file cannot name a variable",
)
