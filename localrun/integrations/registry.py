"""All tools by name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from localrun.errors import NotFoundError
from localrun.integrations.tools.agents import (
    aider,
    claude_code,
    cline,
    codex,
    copilot,
    crush,
    droid,
    goose,
    gptme,
    hermes,
    openclaw,
    opencode,
    pi,
    qwen_code,
)
from localrun.integrations.tools.editors import continue_, jetbrains, roo, vscode, zed
from localrun.integrations.tools.programs import jupyter_ai, llm, n8n, open_webui, shell_gpt

if TYPE_CHECKING:
    from localrun.integrations.tool import Integration

AGENTS = (
    aider, claude_code, cline, codex, copilot, crush, droid, goose, gptme, hermes, openclaw,
    opencode, pi, qwen_code,
)  # fmt: skip
EDITORS = (continue_, jetbrains, roo, vscode, zed)
PROGRAMS = (jupyter_ai, llm, n8n, open_webui, shell_gpt)
TOOLS: dict[str, Integration] = {
    module.TOOL.name: module.TOOL for module in (*AGENTS, *EDITORS, *PROGRAMS)
}
OTHER_NAMES = {
    "claude": "claude-code",
    "code": "vscode",
    "copilot-cli": "copilot",
    "cn": "continue",
    "factory": "droid",
    "hermes-agent": "hermes",
    "jupyter": "jupyter-ai",
    "openwebui": "open-webui",
    "qwen": "qwen-code",
    "roo-code": "roo",
    "sgpt": "shell-gpt",
    "webui": "open-webui",
}


def find_tool(name: str) -> Integration:
    """Return the tool of a name.

    Raises:
        NotFoundError: there is none; the hint has the nearest name.
    """
    key = name.strip().lower().replace("_", "-")
    tool = TOOLS.get(OTHER_NAMES.get(key, key))
    if tool is None:
        near = difflib.get_close_matches(key[:50], [*TOOLS, *OTHER_NAMES], n=1)
        known = f"localrun connect {OTHER_NAMES.get(near[0], near[0])}   or " if near else ""
        raise NotFoundError(
            f"localrun does not know the tool {name[:50]}", hint=f"{known}localrun connect list"
        )
    return tool
