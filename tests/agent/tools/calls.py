"""Calls of tools in tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.agent.toolbox import Toolbox, ToolResult


def call(box: Toolbox, name: str, **arguments: object) -> ToolResult:
    """Return the result of a call that nobody cancels."""
    return box.call(name, arguments, threading.Event())
