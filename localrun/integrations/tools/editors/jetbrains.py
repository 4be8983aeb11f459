"""AI Assistant of JetBrains: no file, only its settings window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.target import KEY_VARIABLE, ModelRole
from localrun.integrations.tool import Integration, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.target import Target


def _steps(target: Target) -> tuple[str, ...]:
    key = f"the value of {KEY_VARIABLE}" if target.needs_key else "leave it empty"
    steps = [
        "Open Settings | Tools | AI Assistant | Providers & API keys.",
        "Third-party AI providers: OpenAI-compatible.",
        f"URL: {target.openai_url}",
        f"API key: {key}",
        "Test Connection, then Apply.",
        f"Models assignment | Core features: {target.chat.name}",
        f"Models assignment | Context window: {target.chat.context}",
    ]
    if target.autocomplete is not None:
        steps.append(f"Models assignment | Completion model: {target.autocomplete.name}")
    return tuple(steps)


TOOL = Integration(
    name="jetbrains",
    title="JetBrains AI Assistant",
    checked="documentation of 2026",
    roles=(ModelRole.CHAT, ModelRole.AUTOCOMPLETE),
    context=16384,
    probes=(ProbeKind.MODELS, ProbeKind.CHAT_TOOLS),
    steps=_steps,
)
