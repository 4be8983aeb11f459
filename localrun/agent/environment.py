"""Environments of programs that the tools start: without secrets of the user.

A command of the shell gets the user's environment without variables whose name or value is that of
a secret, and without sockets of agents (SSH, GPG, D-Bus). An MCP server gets only the variables
that every program needs, and those of its configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.addresses import is_secret, public_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_ENDINGS = ("password", "passwd", "passphrase", "token", "secret", "apikey", "credentials")
AGENTS = frozenset(
    {"SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "GPG_TTY", "SSH_ASKPASS", "SUDO_ASKPASS"}
)
NEEDED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME",
    "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "PROCESSOR_ARCHITECTURE",
    "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE", "COMSPEC", "WINDIR",
})  # fmt: skip
PLAIN = {"TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "CI": "1"}


def command_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: no secrets, no colors, no pager."""
    kept = {name: value for name, value in environ.items() if not _is_hidden(name, value)}
    return kept | PLAIN | {"GIT_TERMINAL_PROMPT": "0"}


def server_environment(environ: Mapping[str, str], configured: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an MCP server."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name.upper() in NEEDED or name.startswith("LC_")) and not value.startswith("()")
    }
    return kept | dict(configured)


def _is_hidden(name: str, value: str) -> bool:
    lower = name.lower()
    has_login = "://" in value and public_address(value) != value
    is_named = is_secret(f"{name}=") or lower.endswith(SECRET_ENDINGS)
    return name in AGENTS or has_login or (is_named and name != "PWD")
