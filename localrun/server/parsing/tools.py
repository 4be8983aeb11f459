"""Tool list of a request: its limits, and the server tools that are left out of it.

Server tools are executed by OpenAI's and Anthropic's servers. Codex always sends them, and a
model can work without them, so they are dropped and logged. Tools that a client executes, or
that read the client's own files, are never dropped.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.server.parsing.fields import Fields
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.limits import MAX_TOOL_CHARACTERS, MAX_TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject

# prefixes of types, most of which end in a date: web_search_20250305
SERVER_TOOLS = (
    "code_execution",
    "image_generation",
    "tool_search",
    "web_fetch",
    "web_search",
)
_log = logging.getLogger(__name__)


def tool_list(fields: Fields, name: str) -> list[JsonObject]:
    """Return the tools of a request.

    Raises:
        UsageError: they are not a list of objects, too many, or too large.
    """
    tools = fields.objects(name, most=MAX_TOOLS)
    if is_larger(tools, MAX_TOOL_CHARACTERS):
        raise fields.wrong(name, f"has more than {MAX_TOOL_CHARACTERS} characters")
    return tools


def client_tools(tools: Iterable[JsonObject]) -> list[Fields]:
    """Return the tools that a client executes; log the server tools.

    Raises:
        UsageError: a type is not a string.
    """
    kept = []
    for place, tool in enumerate(tools):
        fields = Fields(tool, f"tools[{place}].")
        kind = fields.text("type") or ""
        if kind.startswith(SERVER_TOOLS):
            _log.info("the tool %s is left out: only its provider's servers have it", kind[:100])
        else:
            kept.append(fields)
    return kept
