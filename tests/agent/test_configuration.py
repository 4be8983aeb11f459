from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.agent.configuration import ToolAccess, ToolConfiguration, read_configuration
from localrun.agent.mcp_file import CommandServer, UrlServer
from localrun.errors import LocalrunError, NetworkError, NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read(
    folder: Path, *tools: str, mcp: tuple[str, ...] = (), is_offline: bool = False, **environ: str
) -> ToolConfiguration:
    return read_configuration(
        tools, mcp, working_folder=folder, environ=environ, is_offline=is_offline
    )


def written(folder: Path, document: object) -> str:
    path = folder / "servers.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    ("tools", "access"),
    [
        ((), ToolAccess.NONE),
        (("",), ToolAccess.READ),
        (("read",), ToolAccess.READ),
        (("write",), ToolAccess.WRITE),
        (("shell", "read"), ToolAccess.SHELL),
        (("sub",), ToolAccess.READ),
        (("write", "sub"), ToolAccess.WRITE),
    ],
)
def test_values_of_tools_state_access_and_folder(
    tmp_path: Path, tools: tuple[str, ...], access: ToolAccess
) -> None:
    (tmp_path / "sub").mkdir()

    configuration = read(tmp_path, *tools)

    assert configuration.access is access
    assert configuration.folder == (tmp_path / "sub" if "sub" in tools else tmp_path)


def test_a_missing_folder_and_two_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read(tmp_path, "missing")
    with pytest.raises(UsageError, match="two folders"):
        read(tmp_path, ".", str(tmp_path))


def test_a_command_and_a_url_are_servers(tmp_path: Path) -> None:
    mcp = ("uvx mcp-server-time --local 'a b'", "/opt/bin/tool.py", "https://host/mcp")

    servers = read(tmp_path, mcp=mcp).servers

    assert [server.name for server in servers] == ["mcp-server-time", "tool", "mcp"]
    assert isinstance(servers[0], CommandServer)
    assert servers[0].command == ("uvx", "mcp-server-time", "--local", "a b")
    assert servers[2] == UrlServer(name="mcp", url="https://host/mcp")


def test_a_file_is_read_as_other_programs_write_it(tmp_path: Path) -> None:
    document = {
        "mcpServers": {
            "files": {
                "command": "npx",
                "args": ["-y", "server", "${HOME}", "${X:-y}"],
                "env": {"KEY": "${env:WORD}", "PORT": 3},
                "alwaysAllow": ["x"],
            },
            "notes": {
                "type": "streamable-http",
                "url": "https://host/mcp",
                "headers": {"Authorization": "Bearer ${WORD}"},
            },
            "off": {"command": "x", "disabled": True},
        }
    }

    servers = read(tmp_path, mcp=(written(tmp_path, document),), HOME="/h", WORD="s").servers

    assert servers == (
        CommandServer(
            name="files",
            command=("npx", "-y", "server", "/h", "y"),
            environment=(("KEY", "s"), ("PORT", "3")),
        ),
        UrlServer(name="notes", url="https://host/mcp", headers=(("Authorization", "Bearer s"),)),
    )


@pytest.mark.parametrize(
    "server",
    [
        {},
        3,
        {"command": ["x"]},
        {"command": "x", "args": "y"},
        {"command": "x", "args": ["\0"]},
        {"command": "x", "env": {"A=B": "c"}},
        {"command": "${MISSING}"},
        {"url": "ftp://host"},
        {"url": "https://"},
        {"type": "http"},
        {"type": "sse", "url": "https://host/sse"},
        {"url": "https://host", "headers": {"A": "b\r\nC: d"}},
        {"url": "https://host", "headers": {"A b": "c"}},
    ],
)
def test_a_wrong_server_is_an_error_that_names_it(tmp_path: Path, server: object) -> None:
    path = written(tmp_path, {"mcpServers": {"the server": server}})

    with pytest.raises(UsageError, match=r"the server|not a URL"):
        read(tmp_path, mcp=(path,))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mcpServers": []}', "[" * 100_000])
def test_a_file_of_another_kind_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)

    with pytest.raises(UsageError):
        read(tmp_path, mcp=("x.json",))


@pytest.mark.parametrize("value", ["missing.json", "", "'", "x\0y", "http://"])
def test_a_wrong_value_of_mcp_is_an_error(tmp_path: Path, value: str) -> None:
    with pytest.raises(LocalrunError):
        read(tmp_path, mcp=(value,))


def test_names_of_servers_are_unique(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two MCP servers"):
        read(tmp_path, mcp=("npx one", "uvx one"))


def test_other_machines_are_refused_offline(tmp_path: Path) -> None:
    own = ("http://localhost:1/mcp", "x"), ("http://127.0.0.1:1/mcp",), ("http://[::1]:1/mcp",)

    for mcp in own:
        assert read(tmp_path, mcp=mcp, is_offline=True).servers
    for url in ("https://host/mcp", "http://10.0.0.1/mcp", "http://localhost.evil/mcp"):
        with pytest.raises(NetworkError, match="another machine"):
            read(tmp_path, mcp=(url,), is_offline=True)
