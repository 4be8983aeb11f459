"""Configuration of the tools of one chat: the values of ``--tools`` and ``--mcp``.

    --tools                    read files below the working folder
    --tools FOLDER             read files below another folder
    --tools=write              edit files as well
    --tools=shell              run commands as well
    --tools=write --tools DIR  both
    --mcp FILE                 servers of an ``mcpServers`` object, as other programs write it
    --mcp COMMAND              a command that starts a server
    --mcp URL                  a server of streamable HTTP

Invariant: a `ToolConfiguration` starts and opens nothing.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from localrun.agent.mcp_file import (
    LONGEST_SERVER_NAME,
    CommandServer,
    UrlServer,
    check_online,
    check_url,
    read_servers,
)
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_SERVERS = 32
LONGEST_COMMAND = 10_000  # characters
STARTERS = frozenset({"bun", "bunx", "deno", "node", "npx", "python", "uv", "uvx"})
TOOLS_HINT = "--tools, --tools=write, --tools=shell, --tools FOLDER"


class ToolAccess(IntEnum):
    """What the tools of localrun may do; each value includes those before it."""

    NONE = 0
    READ = 1
    WRITE = 2
    SHELL = 3


ACCESS_WORDS = {
    "": ToolAccess.READ,
    "read": ToolAccess.READ,
    "write": ToolAccess.WRITE,
    "shell": ToolAccess.SHELL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolConfiguration:
    """Tools of one chat."""

    access: ToolAccess = ToolAccess.NONE
    folder: Path  # absolute; the tools work below it
    servers: tuple[CommandServer | UrlServer, ...] = ()


def read_configuration(
    tools: Sequence[str],
    mcp: Sequence[str],
    *,
    working_folder: Path,
    environ: Mapping[str, str],
    is_offline: bool = False,
) -> ToolConfiguration:
    """Return the configuration that the values of ``--tools`` and ``--mcp`` state.

    Raises:
        UsageError: a value is wrong.
        NotFoundError: the folder or the file does not exist.
        NetworkError: a server is on another machine, and the network is disabled.
    """
    servers = [server for value in mcp for server in _servers(value, working_folder, environ)]
    if len(servers) > MAX_SERVERS:
        raise UsageError(f"{len(servers)} MCP servers; at most {MAX_SERVERS} are possible")
    _check_names(servers)
    if is_offline:
        check_online(servers)
    access, folder = _access(tools, working_folder)
    return ToolConfiguration(access=access, folder=folder, servers=tuple(servers))


def _access(tools: Sequence[str], working_folder: Path) -> tuple[ToolAccess, Path]:
    access, folder = ToolAccess.NONE, working_folder.resolve()
    folders = [value for value in tools if value not in ACCESS_WORDS]
    if len(folders) > 1:
        raise UsageError(f"--tools has two folders: {folders[0]} and {folders[1]}")
    for value in tools:
        access = max(access, ACCESS_WORDS.get(value, ToolAccess.READ))
    if folders:
        folder = (working_folder / folders[0]).expanduser().resolve()
        if not folder.is_dir():
            raise NotFoundError(f"--tools: no folder {folders[0]}", hint=TOOLS_HINT)
    return access, folder


def _servers(
    value: str, working_folder: Path, environ: Mapping[str, str]
) -> list[CommandServer | UrlServer]:
    if "\0" in value or not value.strip() or len(value) > LONGEST_COMMAND:
        raise UsageError("--mcp needs a file, a command or a URL", hint="--mcp servers.json")
    if value.startswith(("http://", "https://")):
        return [UrlServer(name="mcp", url=check_url(value, "--mcp"))]
    path = (working_folder / value).expanduser()
    if path.suffix == ".json" or (path.is_file() and " " not in value and "/" not in value):
        return list(read_servers(path, environ))
    return [_command_server(value, working_folder)]


def _command_server(value: str, working_folder: Path) -> CommandServer:
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise UsageError(f"--mcp {value}: {error}", hint="quote the words as in a shell") from error
    if not words:
        raise UsageError("--mcp needs a file, a command or a URL", hint="--mcp servers.json")
    return CommandServer(name=_name(words), command=tuple(words), folder=working_folder)


def _name(words: Sequence[str]) -> str:
    """Return a name for a server: that of its program, or of what an interpreter runs."""
    names = [_stem(word) for word in words if not word.startswith("-")]
    is_starter = len(names) > 1 and names[0].rstrip("0123456789.") in STARTERS
    return (names[1] if is_starter else names[0] if names else "") or "mcp"


def _stem(word: str) -> str:
    return word.replace("\\", "/").rpartition("/")[2].partition(".")[0][:LONGEST_SERVER_NAME]


def _check_names(servers: Sequence[CommandServer | UrlServer]) -> None:
    names = [server.name for server in servers]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(
            f"two MCP servers have the name {repeated}", hint="rename one in the file of --mcp"
        )
