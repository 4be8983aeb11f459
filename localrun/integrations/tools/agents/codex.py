"""Codex: OpenAI's agent, which speaks ``/v1/responses`` alone.

``~/.codex/config.toml``, or ``-c key=value`` with values of TOML:
https://developers.openai.com/codex/config-reference
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import FileSettings, Launch, Probe, Tool

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

COMPACT_SHARE = 0.8  # of the context


def _root(target: Target) -> dict[str, Json]:
    return {
        "model": target.chat.name,
        "model_provider": PROVIDER,
        "model_context_window": target.chat.context,
        "model_auto_compact_token_limit": int(target.chat.context * COMPACT_SHARE),
    }


def _provider(target: Target) -> dict[str, Json]:
    provider: dict[str, Json] = {
        "name": PROVIDER,
        "base_url": target.openai_url,
        "wire_api": "responses",
    }
    return provider | ({"env_key": KEY_VARIABLE} if target.needs_key else {})


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.named("CODEX_HOME", places.home / ".codex")
    edits = [Edit(path=(name,), value=value) for name, value in _root(target).items()]
    edits.append(Edit(path=("model_providers", PROVIDER), value=_provider(target)))
    path = folder / "config.toml"
    return (FileSettings(path=path, edits=tuple(edits), format=FileFormat.TOML),)


def _launch(target: Target) -> Launch:
    values = _root(target)
    values |= {f"model_providers.{PROVIDER}.{name}": v for name, v in _provider(target).items()}
    options = [("-c", f"{name}={json.dumps(value)}") for name, value in values.items()]
    return Launch(arguments=tuple(word for option in options for word in option))


TOOL = Tool(
    name="codex",
    title="Codex",
    checked="0.169.0",
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(Probe.RESPONSES,),
    program="codex",
    install=(("npm", "install", "-g", "@openai/codex"),),
    settings=_settings,
    launch=_launch,
)
