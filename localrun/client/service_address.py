"""Address on which a service manager listens for the server, from the file that it was told by.

    ~/.config/systemd/user/localrun.socket           systemd
    ~/Library/LaunchAgents/localrun.server.plist     launchd

`localrun service install` writes these files. A command that only asks a running server must not
start one: while the server does not run, it has no Unix socket, and the file tells why its address
still takes connections.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.folders import config_folder

if TYPE_CHECKING:
    from localrun.settings import Settings

SOCKET_UNIT = "localrun.socket"
LAUNCHD_LABEL = "localrun.server"


def activation_file() -> Path:
    """Return the path of the file that names the address, which may not exist."""
    path = config_folder().parent / "systemd" / "user" / SOCKET_UNIT
    if sys.platform == "darwin":
        path = Path.home() / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist"
    return path


def has_service(settings: Settings) -> bool:
    """Return whether a service is installed that listens on the address of the settings."""
    text = ""
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # no file, or no home
            text = activation_file().read_text(encoding="utf-8")
    return f"={settings.address}\n" in text or f">{settings.address}<" in text


def is_asleep(settings: Settings) -> bool:
    """Return whether the server is a service that does not run, unless its Unix socket answers.

    False for a service that makes no Unix socket: only a request can show whether it runs.
    """
    return settings.is_loopback and not settings.is_tls and has_service(settings)
