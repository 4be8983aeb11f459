"""Permissions of tool calls: the mode of the chat and what the user has decided so far.

    mode          read     edit     command   MCP tool
    ask           allow    ask      ask       ask
    allow edits   allow    allow    ask       ask
    read only     allow    refuse   refuse    ask, also if it was allowed for this chat

Invariant: no call that can change something is allowed unless the user decided so in this chat.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.agent.toolbox import Effect

if TYPE_CHECKING:
    from localrun.agent.toolbox import AgentTool, Arguments


class PermissionMode(StrEnum):
    """Mode of a chat; the values are shown in the toolbar."""

    ASK = "ask"
    ALLOW_EDITS = "allow edits"
    READ_ONLY = "read only"


class Decision(StrEnum):
    """Answer of the user to the question about a call."""

    ONCE = "once"
    EXACT = "exact"  # this tool with these arguments, for this chat
    TOOL = "tool"  # this tool with any arguments, for this chat
    REFUSE = "refuse"  # this call
    NEVER = "never"  # this tool, for this chat


class PermissionVerdict(StrEnum):
    """What the permissions say about a call before the user is asked."""

    ALLOW = "allow"
    ASK = "ask"
    REFUSE = "refuse"


class Permissions:
    """Mode and decisions of one chat."""

    def __init__(self, mode: PermissionMode = PermissionMode.ASK) -> None:
        self.mode = mode
        self._allowed_tools: set[str] = set()
        self._refused_tools: set[str] = set()
        self._allowed_calls: set[bytes] = set()

    def next_mode(self) -> PermissionMode:
        """Change to the next mode and return it."""
        modes = list(PermissionMode)
        self.mode = modes[(modes.index(self.mode) + 1) % len(modes)]
        return self.mode

    def verdict(self, tool: AgentTool, arguments: Arguments) -> PermissionVerdict:
        """Return whether a call is allowed, refused, or a question for the user."""
        if tool.name in self._refused_tools:
            return PermissionVerdict.REFUSE
        if tool.effect is Effect.READ:
            return PermissionVerdict.ALLOW
        if self.mode is PermissionMode.READ_ONLY:
            return (
                PermissionVerdict.ASK if tool.effect is Effect.FOREIGN else PermissionVerdict.REFUSE
            )
        if self.mode is PermissionMode.ALLOW_EDITS and tool.effect is Effect.EDIT:
            return PermissionVerdict.ALLOW
        is_allowed = tool.name in self._allowed_tools
        is_allowed = is_allowed or _digest(tool.name, arguments) in self._allowed_calls
        return PermissionVerdict.ALLOW if is_allowed else PermissionVerdict.ASK

    def remember(self, tool: AgentTool, arguments: Arguments, decision: Decision) -> None:
        """Keep a decision that holds for this chat; the others are forgotten."""
        if decision is Decision.EXACT:
            self._allowed_calls.add(_digest(tool.name, arguments))
        elif decision is Decision.TOOL:
            self._allowed_tools.add(tool.name)
        elif decision is Decision.NEVER:
            self._refused_tools.add(tool.name)

    def is_never(self, tool: AgentTool) -> bool:
        """Return whether the user has refused a tool for this chat."""
        return tool.name in self._refused_tools

    def about(self, tool: AgentTool) -> str:
        """Return the permission of a tool in a word or two, for lists."""
        if tool.name in self._refused_tools:
            return "never"
        if tool.effect is Effect.READ:
            return "allowed"
        if tool.name in self._allowed_tools and self.mode is not PermissionMode.READ_ONLY:
            return "allowed in this chat"
        verdict = self.verdict(tool, {})
        return {
            PermissionVerdict.ALLOW: "allowed",
            PermissionVerdict.ASK: "asks",
            PermissionVerdict.REFUSE: "refused",
        }[verdict]


def _digest(name: str, arguments: Arguments) -> bytes:
    text = json.dumps([name, dict(arguments)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
