"""Routes whose module is imported when the first request asks for them.

The import runs in a thread, since it takes longer than the event loop may stand still.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Match, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from localrun.server.routing.routes import Routes


class LazyRoutes(BaseRoute):
    """All routes at and below some paths; ``lock`` is shared, so that one import runs at a time."""

    def __init__(
        self, paths: tuple[str, ...], load: Callable[[], Routes], lock: asyncio.Lock
    ) -> None:
        self._paths = frozenset(paths)
        self._folders = tuple(f"{path}/" for path in paths)
        self._load = load
        self._lock = lock
        self._routes: Routes | None = None
        self._router = Router(redirect_slashes=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the path is one of these; their router decides about the method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        is_here = path in self._paths or path.startswith(self._folders)
        return Match.FULL if is_here else Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request by the route of its path and method."""
        if self._routes is None:
            await self.routes()
        await self._router(scope, receive, send)

    async def routes(self) -> Routes:
        """Return the routes; the first call imports them in a thread."""
        async with self._lock:
            if self._routes is None:
                routes = await asyncio.to_thread(self._load)
                self._router.routes += routes.declared
                self._routes = routes
            return self._routes
