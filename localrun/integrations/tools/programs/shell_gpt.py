"""ShellGPT: variables, which override its file ``~/.config/shell_gpt/.sgptrc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.target import KEY_VARIABLE
from localrun.integrations.tool import KEY, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.target import Target


def _environment(target: Target) -> dict[str, str]:
    return {
        "API_BASE_URL": target.openai_url,
        "OPENAI_API_KEY": target.key(f"${KEY_VARIABLE}"),
        "DEFAULT_MODEL": target.chat.name,
        "OPENAI_USE_FUNCTIONS": "true" if target.chat.calls_tools else "false",
    }


TOOL = Integration(
    name="shell-gpt",
    title="ShellGPT",
    checked="1.5.1",
    is_started=True,
    probes=(ProbeKind.CHAT,),
    program="sgpt",
    install=(("uv", "tool", "install", "shell-gpt"), ("pipx", "install", "shell-gpt")),
    environment=_environment,
    launch=lambda target: Launch(environment={**_environment(target), "OPENAI_API_KEY": KEY}),
)
