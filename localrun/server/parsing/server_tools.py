"""Server tools: what OpenAI's and Anthropic's servers execute beside an answer.

They are left out of a request's tools: Codex always sends them, and an answer may do without.
Tools that a client executes, or that read the client's own files, are never left out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.server.parsing.fields import Fields

# types begin like this, most end in a date: web_search_20250305
PREFIXES = (
    "code_execution",
    "image_generation",
    "tool_search",
    "web_fetch",
    "web_search",
)
_log = logging.getLogger(__name__)


def without_server_tools(tools: Iterable[Fields]) -> list[Fields]:
    """Return the tools that a client executes; the log names the others."""
    kept = []
    for tool in tools:
        kind = tool.text("type") or ""
        if kind.startswith(PREFIXES):
            _log.info("the tool %s is left out: only its provider's servers have it", kind[:100])
        else:
            kept.append(tool)
    return kept
