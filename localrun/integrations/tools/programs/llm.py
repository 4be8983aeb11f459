"""llm: ``extra-openai-models.yaml`` in its own folder.

https://llm.datasette.io/en/stable/other-models.html. Keys are kept by ``llm keys set NAME``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    fields: dict[str, Json] = {
        "model_name": target.chat.name,
        "api_base": target.openai_url,
        "supports_tools": target.chat.calls_tools,
        "supports_schema": True,
        "vision": target.chat.sees,
        **({"api_key_name": PROVIDER} if target.needs_key else {}),
    }
    folder = places.named("LLM_USER_PATH", places.applications / "io.datasette.llm")
    edit = Edit(path=(Item("model_id", PROVIDER),), value=fields)
    path = folder / "extra-openai-models.yaml"
    return (FileSettings(path=path, edits=(edit,), format=FileFormat.YAML),)


TOOL = Integration(
    name="llm",
    title="llm",
    checked="0.36",
    is_started=True,
    probes=(ProbeKind.CHAT,),
    program="llm",
    install=(("uv", "tool", "install", "llm"), ("pipx", "install", "llm")),
    settings=_settings,
    launch=lambda _: Launch(arguments=("-m", PROVIDER)),
    launch_needs_settings=True,
    key_note=f'llm keys set {PROVIDER} --value "${KEY_VARIABLE}"',
)
