"""``--device`` of ``run``: what a background server is started with, or has to have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.settings import Settings


def with_device(settings: Settings, asked: str | None) -> Settings:
    """Return the settings with the device that the user asks for; a server is asked for its own.

    Raises:
        UsageError: there is no such device, or the server that runs uses another one.
    """
    from localrun.hardware.choice import check_device

    if asked is not None:
        asked = check_device(asked)
    elif settings.device == "auto":
        return settings
    from localrun.client.launch import find_server
    from localrun.services.devices import check_choice

    client = find_server(settings)
    if client is None:
        chosen = check_choice(asked or settings.device, os.environ)
        return settings.by_flag("LOCALRUN_DEVICE", device=chosen) if asked else settings
    theirs = (client.version() or {}).get("device")
    if asked is not None and theirs is not None and asked != theirs:
        raise UsageError(
            f"the running server uses device {theirs}, not {asked}",
            hint="localrun stop --server   ends it; the next run starts one with your device",
        )
    return settings
