"""gptme: variables of OpenAI's API, and models named ``local/NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.target import KEY_VARIABLE
from localrun.integrations.tool import KEY, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.target import Target


def _environment(target: Target) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": target.openai_url,
        "OPENAI_API_KEY": target.key(f"${KEY_VARIABLE}"),
        "MODEL": f"local/{target.chat.name}",
    }


def _launch(target: Target) -> Launch:
    return Launch(
        arguments=("--model", f"local/{target.chat.name}"),
        environment={**_environment(target), "OPENAI_API_KEY": KEY},
    )


TOOL = Integration(
    name="gptme",
    title="gptme",
    checked="0.35.1",
    is_started=True,
    context=16384,
    probes=(ProbeKind.CHAT_TOOLS,),
    program="gptme",
    install=(("uv", "tool", "install", "gptme"), ("pipx", "install", "gptme")),
    environment=_environment,
    launch=_launch,
)
