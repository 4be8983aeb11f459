"""Imports of a first chat, made while the server waits for it: they take part of a model's load."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.routing import Match

from localrun.server.routing.lazy import LazyRoutes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

CHATS = ("/v1/chat/completions", "/api/chat")


async def import_ahead(routes: Sequence[BaseRoute]) -> None:
    """Import the routes of chats, in threads."""
    for path in CHATS:
        for route in routes:
            is_here = route.matches({"type": "http", "path": path, "method": "POST"})[0]
            if isinstance(route, LazyRoutes) and is_here is Match.FULL:
                with contextlib.suppress(OSError):  # which a request would report
                    await route.routes()
