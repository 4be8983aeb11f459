"""aider: ``~/.aider.conf.yml`` and a file with the context of the model; or flags.

https://aider.chat/docs/config/options.html. The key is ``OPENAI_API_KEY`` of the environment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import KEY_VARIABLE, NO_KEY
from localrun.integrations.tool import KEY, OWN_FOLDER, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

FILE = ".aider.model.metadata.json"


def _name(target: Target) -> str:
    return f"openai/{target.chat.name}"


def _metadata(target: Target) -> dict[str, Json]:
    chat = target.chat
    return {
        "max_tokens": chat.max_output,
        "max_input_tokens": chat.context - chat.max_output,
        "max_output_tokens": chat.max_output,
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "litellm_provider": "openai",
        "mode": "chat",
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    values: dict[str, Json] = {
        "model": _name(target),
        "weak-model": _name(target),
        "openai-api-base": target.openai_url,
        "openai-api-key": "" if target.needs_key else NO_KEY,  # empty: the variable counts
    }
    options = tuple(Edit(path=(name,), value=value) for name, value in values.items())
    metadata = Edit(path=(_name(target),), value=_metadata(target))
    return (
        FileSettings(path=places.home / ".aider.conf.yml", edits=options, format=FileFormat.YAML),
        FileSettings(path=places.home / FILE, edits=(metadata,)),
    )


def _launch(target: Target) -> Launch:
    name = _name(target)
    return Launch(
        arguments=(
            *("--model", name, "--weak-model", name),
            *("--model-metadata-file", f"{OWN_FOLDER}/{FILE}"),
        ),
        environment={"OPENAI_API_BASE": target.openai_url, "OPENAI_API_KEY": KEY},
        unset=("OPENAI_BASE_URL",),
        files={FILE: json.dumps({name: _metadata(target)}, indent=2)},
    )


TOOL = Integration(
    name="aider",
    title="aider",
    checked="0.86.2",
    is_started=True,
    context=8192,
    probes=(ProbeKind.CHAT,),
    program="aider",
    install=(
        ("uv", "tool", "install", "aider-chat"),
        ("pipx", "install", "aider-chat"),
    ),
    settings=_settings,
    launch=_launch,
    key_note=f'export OPENAI_API_KEY="${KEY_VARIABLE}"',
)
