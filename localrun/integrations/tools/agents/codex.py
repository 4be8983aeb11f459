"""Codex: OpenAI's agent, which speaks ``/v1/responses`` alone.

``~/.codex/config.toml``, or ``-c key=value`` with values of TOML:
https://developers.openai.com/codex/config-reference. A launch adds a catalog of models with the
real context window. A catalog must have instructions: ours are short, because a local model reads
6,000 tokens of them before each first answer. In the file it would hide OpenAI's own models.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import AGENT_CONTEXT, KEY_VARIABLE, PROVIDER
from localrun.integrations.tool import OWN_FOLDER, FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target

COMPACT_SHARE = 0.8  # of the context
CATALOG = "codex-models.json"
TRUNCATION_BYTES = 10_000  # of the output of a command
INSTRUCTIONS = """\
You are a coding agent in the user's terminal. Work in the current folder.
- Read the files that matter before you change them, and keep their style.
- Use the tools: run commands to look and to test, apply patches to edit. Never invent their output.
- Make the smallest change that does what the user wants. Do not commit unless you are told to.
- Go on until the task is done, then say in a few sentences what you changed and how you tested it.
- If something is unclear or dangerous, ask first.
"""


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
    texts = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    texts.append(f"model_catalog_json='{OWN_FOLDER}/{CATALOG}'")
    return Launch(
        arguments=tuple(word for text in texts for word in ("-c", text)),
        files={CATALOG: json.dumps({"models": [_catalog_entry(target)]}, indent=2)},
    )


def _catalog_entry(target: Target) -> dict[str, Json]:
    chat = target.chat
    return {
        "slug": chat.name,
        "display_name": f"{chat.name} (localrun)",
        "context_window": chat.context,
        "shell_type": "default",
        "visibility": "list",
        "supported_in_api": True,
        "priority": 0,
        "truncation_policy": {"mode": "bytes", "limit": TRUNCATION_BYTES},
        "input_modalities": ["text", "image"] if chat.sees else ["text"],
        "base_instructions": INSTRUCTIONS,
        "support_verbosity": False,
        "supports_parallel_tool_calls": True,
        "supports_reasoning_summaries": False,
        "supported_reasoning_levels": [],
        "experimental_supported_tools": [],
    }


TOOL = Integration(
    name="codex",
    title="Codex",
    checked="0.169.0",
    is_started=True,
    needs_tools=True,
    context=AGENT_CONTEXT,
    probes=(ProbeKind.RESPONSES,),
    program="codex",
    install=(("npm", "install", "-g", "@openai/codex"),),
    settings=_settings,
    launch=_launch,
)
