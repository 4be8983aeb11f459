"""Tools and results of MCP servers as those of a chat, with bounded sizes.

Everything that a server sends is untrusted. Invariant: the names are unique, have at most
`LONGEST_NAME` characters of A-Z, a-z, 0-9, _ and -, and begin with the name of the server.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mcp import types

from localrun.agent.shortening import shorten
from localrun.agent.toolbox import LONGEST_NAME, ToolResult

if TYPE_CHECKING:
    from collections.abc import Container

LONGEST_DESCRIPTION = 2000  # characters
LARGEST_SCHEMA = 32 * 1024  # bytes of JSON
LARGEST_RESULT = 1024 * 1024  # bytes
MAX_PARTS = 1000  # of a result
UNNAMED = re.compile(r"[^A-Za-z0-9_-]")
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


def unique_name(server: str, tool: str, used: Container[str]) -> str:
    """Return the name of a tool for the model."""
    name = UNNAMED.sub("_", f"{server}_{tool}")[:LONGEST_NAME]
    number = 1
    unique = name
    while unique in used:
        number += 1
        ending = f"_{number}"
        unique = name[: LONGEST_NAME - len(ending)] + ending
    return unique


def description_of(tool: types.Tool) -> str:
    """Return the description of a tool for the model."""
    return (tool.description or tool.title or tool.name)[:LONGEST_DESCRIPTION]


def schema_of(tool: types.Tool) -> dict[str, Any] | None:
    """Return the schema of the arguments, None if it is too large."""
    if tool.inputSchema.get("type") != "object":
        return NO_ARGUMENTS
    try:
        is_small = len(json.dumps(tool.inputSchema)) <= LARGEST_SCHEMA
    except (ValueError, RecursionError):
        return None
    return tool.inputSchema if is_small else None


def result_of(result: types.CallToolResult) -> ToolResult:
    """Return a result as text; images and sounds are named, not shown."""
    parts = [_part(content) for content in result.content[:MAX_PARTS]]
    if not parts and result.structuredContent is not None:
        parts = [json.dumps(result.structuredContent, ensure_ascii=False)]
    text = shorten("\n".join(parts), LARGEST_RESULT)
    return ToolResult(text=text or "(no result)", is_error=bool(result.isError))


def _part(content: types.ContentBlock) -> str:
    if isinstance(content, types.TextContent):
        return content.text
    if isinstance(content, types.ImageContent | types.AudioContent):
        return f"[{content.mimeType[:100]}, {len(content.data) * 3 // 4} bytes, not shown]"
    if isinstance(content, types.EmbeddedResource):
        if isinstance(content.resource, types.TextResourceContents):
            return content.resource.text
        return f"[resource {str(content.resource.uri)[:500]}, not shown]"
    return f"[resource {str(content.uri)[:500]}: {content.name[:200]}]"
