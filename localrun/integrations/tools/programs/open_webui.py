"""Open WebUI: variables, which count only until its database has the settings.

``ENABLE_PERSISTENT_CONFIG=False`` makes the variables count at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.target import KEY_VARIABLE, ModelRole
from localrun.integrations.tool import KEY, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.target import Target

KEY_NAMES = ("OPENAI_API_KEY", "RAG_OPENAI_API_KEY")


def _environment(target: Target) -> dict[str, str]:
    key = target.key(f"${KEY_VARIABLE}")
    variables = {
        "ENABLE_OPENAI_API": "True",
        "OPENAI_API_BASE_URL": target.openai_url,
        "OPENAI_API_KEY": key,
        "ENABLE_OLLAMA_API": "False",
        "DEFAULT_MODELS": target.chat.name,
        "ENABLE_PERSISTENT_CONFIG": "False",
    }
    if target.embed is not None:
        variables |= {
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_OPENAI_API_BASE_URL": target.openai_url,
            "RAG_OPENAI_API_KEY": key,
            "RAG_EMBEDDING_MODEL": target.embed.name,
        }
    return variables


def _launch(target: Target) -> Launch:
    variables = _environment(target)
    keys = {name: KEY for name in KEY_NAMES if name in variables}
    return Launch(arguments=("serve",), environment=variables | keys)


TOOL = Integration(
    name="open-webui",
    title="Open WebUI",
    checked="documentation of 2026",
    roles=(ModelRole.CHAT, ModelRole.EMBED),
    probes=(ProbeKind.MODELS, ProbeKind.CHAT, ProbeKind.EMBEDDINGS),
    program="open-webui",
    install=(("uv", "tool", "install", "open-webui"), ("pipx", "install", "open-webui")),
    environment=_environment,
    launch=_launch,
)
