"""A server's hold on its warm process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class Warm:
    """The warm process of a server: the path of its socket; `close` ends it."""

    def __init__(self, path: str, lifeline: socket.socket) -> None:
        self.path = path
        self._lifeline = lifeline

    def close(self) -> None:
        """Let the warm process end; commands that run go on."""
        self._lifeline.close()
