"""Options of ``run`` for the tools of a chat: ``--tools`` and ``--mcp``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.agent.configuration import ToolConfiguration
    from localrun.settings import Settings


def read_tools(
    tools: list[str] | None, mcp: list[str] | None, settings: Settings, *, has_prompt: bool
) -> ToolConfiguration | None:
    """Return the configuration of the tools, None if no option names any.

    Raises:
        UsageError: a value is wrong, or there is a prompt: calls ask the user of a chat.
        LocalrunError: a folder or a file does not exist, or the network is disabled.
    """
    if not tools and not mcp:
        return None
    if has_prompt:
        option = "--tools" if tools else "--mcp"
        raise UsageError(f"{option} needs a chat", hint="localrun run MODEL --tools   (no prompt)")
    from localrun.agent.configuration import read_configuration

    return read_configuration(
        tools or (),
        mcp or (),
        working_folder=Path.cwd(),
        environ=os.environ,
        is_offline=settings.is_offline,
    )
