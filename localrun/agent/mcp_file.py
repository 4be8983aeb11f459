"""File of MCP servers: the ``mcpServers`` object that Claude Desktop, Cursor and others write.

    {"mcpServers": {
       "files": {"command": "npx", "args": ["-y", "server"], "env": {"KEY": "${KEY}"}},
       "notes": {"type": "http", "url": "https://host/mcp", "headers": {"Authorization": "..."}}}}

``${NAME}``, ``${NAME:-default}`` and ``${env:NAME}`` in a text stand for variables of the
environment. Servers with ``"disabled": true`` are left out; unknown fields are ignored, as each
program has its own. Invariant: every text is bounded and free of NUL; headers have no line breaks.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.errors import NetworkError, NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LARGEST_FILE = 1024 * 1024  # bytes
MAX_ITEMS = 1000  # arguments, variables, headers
LONGEST_TEXT = 32_768  # characters, the limit of a variable on Windows
LONGEST_SERVER_NAME = 64
LISTS = ("mcpServers", "servers")  # the second is VS Code's
REMOTE_TYPES = frozenset({"http", "streamable-http", "streamablehttp", "streamable_http"})
VARIABLE = re.compile(r"\$\{(?:env:)?(\w{1,200})(:-[^}$]{0,1000})?\}", re.ASCII)
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandServer:
    """An MCP server that is started, and spoken to over its stdin and stdout."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()  # besides a few of the user's own
    folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlServer:
    """An MCP server at a URL, by streamable HTTP."""

    name: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()


def read_servers(path: Path, environ: Mapping[str, str]) -> Iterator[CommandServer | UrlServer]:
    """Return the servers of a file.

    Raises:
        NotFoundError: the file does not exist.
        UsageError: the file is not such a file.
    """
    document = _read_json(path)
    servers = next((document[key] for key in LISTS if key in document), None)
    if not isinstance(servers, dict):
        raise UsageError(f"{path}: no object 'mcpServers'", hint='{"mcpServers": {"NAME": {...}}}')
    for name, fields in servers.items():
        where = f"{path}: server '{name[:LONGEST_SERVER_NAME]}'"
        if not isinstance(fields, dict) or not name or len(name) > LONGEST_SERVER_NAME:
            raise UsageError(f"{where} is not an object with a name of at most 64 characters")
        if fields.get("disabled") is not True:
            yield _server(name, fields, where, environ)


def check_url(url: str, where: str) -> str:
    """Return the URL of a server.

    Raises:
        UsageError: it is no URL of HTTP.
    """
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http or not url.isprintable() or " " in url:
        raise UsageError(f"{where}: not a URL of HTTP: {url[:200]}")
    return url


def check_online(servers: Iterable[CommandServer | UrlServer]) -> None:
    """Refuse servers on other machines; called if the network is disabled.

    Raises:
        NetworkError: a server is on another machine.
    """
    for server in servers:
        if isinstance(server, UrlServer) and not is_own_machine(server.url):
            raise NetworkError(
                f"MCP server '{server.name}' is on another machine, and LOCALRUN_OFFLINE is set",
                hint="LOCALRUN_OFFLINE=0   allows it",
            )


def is_own_machine(url: str) -> bool:
    """Return whether the host of a URL is this machine, by its name or address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_json(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"--mcp: no file {path}") from error
    except OSError as error:
        raise StorageError(f"--mcp: {path} cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"--mcp: {path} is larger than {LARGEST_FILE} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--mcp: {path} is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def _server(
    name: str, fields: dict[str, object], where: str, environ: Mapping[str, str]
) -> CommandServer | UrlServer:
    kind = fields.get("type", fields.get("transport"))
    url, command = fields.get("url", fields.get("serverUrl")), fields.get("command")
    if isinstance(kind, str) and kind.lower() == "sse":
        raise UsageError(f"{where}: type 'sse' is not supported", hint='"type": "http"')
    if url is not None and command is None:
        address = check_url(_text(url, f"{where}: url", environ), where)
        headers = tuple(_pairs(fields.get("headers"), f"{where}: headers", environ))
        return UrlServer(name=name, url=address, headers=_checked_headers(headers, where))
    if isinstance(kind, str) and kind.lower() in REMOTE_TYPES:
        raise UsageError(f"{where}: type '{kind}' needs 'url'")
    words = [command, *_list(fields.get("args"), f"{where}: args")]
    folder = fields.get("cwd")
    return CommandServer(
        name=name,
        command=tuple(_text(word, f"{where}: command", environ) for word in words),
        environment=tuple(_pairs(fields.get("env"), f"{where}: env", environ)),
        folder=Path(_text(folder, f"{where}: cwd", environ)) if folder is not None else None,
    )


def _checked_headers(
    headers: tuple[tuple[str, str], ...], where: str
) -> tuple[tuple[str, str], ...]:
    for name, value in headers:
        if HEADER.fullmatch(name) is None or not value.isprintable() or not value.isascii():
            raise UsageError(f"{where}: not a header of HTTP: {name[:200]}")
    return headers


def _list(value: object, where: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise UsageError(f"{where} is not a list of at most {MAX_ITEMS} texts")
    return value


def _pairs(value: object, where: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise UsageError(f"{where} is not an object of at most {MAX_ITEMS} texts")
    for key, text in value.items():
        if not key or "=" in key or "\0" in key:
            raise UsageError(f"{where}: not a name: {key[:200]!r}")
        yield key, _text(text, f"{where}: {key}", environ)


def _text(value: object, where: str, environ: Mapping[str, str]) -> str:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if not isinstance(value, str) or "\0" in value:
        raise UsageError(f"{where} is not a text")
    text = VARIABLE.sub(lambda match: _variable(match, where, environ), value)
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"{where} is longer than {LONGEST_TEXT} characters")
    return text


def _variable(match: re.Match[str], where: str, environ: Mapping[str, str]) -> str:
    name, default = match[1], match[2]
    value = environ.get(name)
    if value is None and default is None:
        raise UsageError(f"{where}: the variable {name} is not set", hint=f"export {name}=...")
    return (default or "").removeprefix(":-") if value is None else value
