"""GitHub Copilot CLI: variables alone, listed by ``copilot help providers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE
from localrun.integrations.tool import KEY, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.target import Target

KEY_NAME = "COPILOT_PROVIDER_API_KEY"


def _environment(target: Target) -> dict[str, str]:
    chat = target.chat
    return {
        "COPILOT_PROVIDER_BASE_URL": target.openai_url,
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_WIRE_API": "completions",
        KEY_NAME: target.key(f"${KEY_VARIABLE}"),
        "COPILOT_MODEL": chat.name,
        "COPILOT_PROVIDER_MAX_PROMPT_TOKENS": str(chat.context - chat.max_output),
        "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS": str(chat.max_output),
    }


def _launch(target: Target) -> Launch:
    return Launch(
        environment={**_environment(target), KEY_NAME: KEY},
        unset=("COPILOT_PROVIDER_BEARER_TOKEN", "COPILOT_PROVIDER_MODEL_ID"),
    )


TOOL = Integration(
    name="copilot",
    title="GitHub Copilot CLI",
    checked="1.0.102",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="copilot",
    install=(("npm", "install", "-g", "@github/copilot"),),
    environment=_environment,
    launch=_launch,
)
