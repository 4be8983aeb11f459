r"""Unit files of systemd for the server.

`localrun.socket` listens; `localrun.service` is started by the first connection. In the units,
``%`` and ``$`` are doubled and arguments are quoted (systemd.syntax(7)). The environment file has a
line ``NAME="value"`` for each variable, in which ``\``, ``"``, ``$`` and the backquote are escaped.

The service is not in a sandbox unless that is wanted: the warm process of the server runs the
user's commands, and would have to refuse them all (ADR 62).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from localrun.services.system_service.service import Service

HEAD = "# Written by `localrun service install`; `localrun service uninstall` removes it.\n"
SOCKET = """\
{head}[Unit]
Description=localrun model server, address {address}

[Socket]
ListenStream={address}
Backlog=2048

[Install]
WantedBy=sockets.target
"""
# KillMode: commands of the user run in forks of the server's warm process, and outlive it;
# runners end with the connection to the server. OOMPolicy: the server replaces a runner that died.
SERVICE = """\
{head}[Unit]
Description=localrun model server
Requires=localrun.socket
After=localrun.socket
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart={command}
EnvironmentFile={environment}
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2
TimeoutStopSec={stop_timeout}
KillMode=process
OOMPolicy=continue
"""
SANDBOX = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
SPECIAL = re.compile(r"[\\\"$`]")
PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def socket_unit(service: Service) -> str:
    """Return the text of ``localrun.socket``."""
    return SOCKET.format(head=HEAD, address=service.address)


def service_unit(service: Service, environment: Path) -> str:
    """Return the text of ``localrun.service``, which reads its variables from a file."""
    timeout_s = service.stop_timeout_s
    text = SERVICE.format(
        head=HEAD,
        command=command_line(service.command),
        environment=str(environment).replace("%", "%%"),
        stop_timeout="infinity" if timeout_s is None else round(timeout_s),
    )
    return text + SANDBOX if service.is_sandboxed else text


def environment_file(variables: Mapping[str, str]) -> str:
    """Return the text of an environment file."""
    lines = [
        f'{name}="{SPECIAL.sub(lambda match: chr(92) + match[0], value)}"\n'
        for name, value in sorted(variables.items())
    ]
    return HEAD + "".join(lines)


def command_line(words: Sequence[str]) -> str:
    """Return a command as in ``ExecStart``."""
    return " ".join(map(_word, words))


def _word(text: str) -> str:
    escaped = text.replace("%", "%%").replace("$", "$$")
    if PLAIN.fullmatch(text):
        return escaped
    quoted = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
