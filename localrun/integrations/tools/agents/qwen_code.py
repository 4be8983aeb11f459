"""Qwen Code: ``~/.qwen/settings.json``, or variables of OpenAI's API and flags.

https://qwenlm.github.io/qwen-code-docs/en/users/configuration/model-providers
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, NO_KEY
from localrun.integrations.tool import KEY, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    chat = target.chat
    model: dict[str, Json] = {
        "name": f"{chat.name} (localrun)",
        "baseUrl": target.openai_url,
        "envKey": KEY_VARIABLE,
        "generationConfig": {
            "contextWindowSize": chat.context,
            "samplingParams": {"max_tokens": chat.max_output},
        },
    }
    edits = [
        Edit(path=("modelProviders", "openai", Item("id", chat.name)), value=model),
        Edit(path=("security", "auth", "selectedType"), value="openai"),
        Edit(path=("model", "name"), value=chat.name),
    ]
    if not target.needs_key:
        edits.append(Edit(path=("env", KEY_VARIABLE), value=NO_KEY, is_default=True))
    folder = places.named("QWEN_HOME", places.home / ".qwen")
    return (FileSettings(path=folder / "settings.json", edits=tuple(edits)),)


def _launch(target: Target) -> Launch:
    return Launch(
        arguments=("--auth-type", "openai", "--model", target.chat.name),
        environment={
            "OPENAI_BASE_URL": target.openai_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_MODEL": target.chat.name,
            "QWEN_CODE_MAX_OUTPUT_TOKENS": str(target.chat.max_output),
        },
    )


TOOL = Integration(
    name="qwen-code",
    title="Qwen Code",
    checked="0.24.4",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="qwen",
    install=(("npm", "install", "-g", "@qwen-code/qwen-code"),),
    settings=_settings,
    launch=_launch,
)
