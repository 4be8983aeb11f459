"""Claude Code: Anthropic's agent, which speaks ``/v1/messages``.

``~/.claude/settings.json`` has an ``env`` of variables; ``apiKeyHelper`` is a command that prints
the key. Names of models: https://code.claude.com/docs/en/model-config
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, NO_KEY
from localrun.integrations.tool import KEY, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

MODEL_VARIABLES = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",  # its name before the one above
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


def _variables(target: Target) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": target.url,
        **dict.fromkeys(MODEL_VARIABLES, target.chat.name),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(target.chat.max_output),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(target.chat.context),
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(target.chat.context),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",  # changes with each request: no prefix is cached
    }


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.named("CLAUDE_CONFIG_DIR", places.home / ".claude")
    edits = [Edit(path=("env", name), value=value) for name, value in _variables(target).items()]
    token = "" if target.needs_key else NO_KEY  # a token would come before the helper
    edits.append(Edit(path=("env", "ANTHROPIC_AUTH_TOKEN"), value=token))
    if target.needs_key:
        edits.append(Edit(path=("apiKeyHelper",), value=f"printenv {KEY_VARIABLE}"))
    return (FileSettings(path=folder / "settings.json", edits=tuple(edits)),)


def _launch(target: Target) -> Launch:
    return Launch(
        environment={**_variables(target), "ANTHROPIC_AUTH_TOKEN": KEY},
        unset=("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
    )


TOOL = Integration(
    name="claude-code",
    title="Claude Code",
    checked="2.1.197",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.MESSAGES,),
    program="claude",
    install=(("npm", "install", "-g", "@anthropic-ai/claude-code"),),
    settings=_settings,
    launch=_launch,
)
