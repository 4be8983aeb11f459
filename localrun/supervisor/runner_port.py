"""Port of the loopback for one runner, where there is no socket pair to inherit.

The server's side of the handshake that `localrun.warm.transport` describes. Any program of the
machine can connect: none of them can hold up the runner's connection.
"""

from __future__ import annotations

import hmac
import secrets
import selectors
import socket
import sys
import time
from typing import TYPE_CHECKING, Self

from localrun.warm.transport import (
    ANSWER_TIMEOUT_S,
    LOOPBACK,
    SECRET_BYTES,
    Invitation,
    ready,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S = 60.0  # of a runner that starts on a busy machine
POLL_S = 0.1  # between two looks at whether the runner still lives
MAX_STRANGERS = 16  # connections that have not sent the secret yet


class RunnerPort:
    """A port of the loopback for one runner."""

    def __init__(self) -> None:
        self._listener = _listen()
        self.invitation = Invitation(
            port=self._listener.getsockname()[1],
            secret=secrets.token_bytes(SECRET_BYTES),
            answer=secrets.token_bytes(SECRET_BYTES),
        )

    def accept(
        self, has_ended: Callable[[], bool], timeout_s: float = CONNECT_TIMEOUT_S
    ) -> socket.socket:
        """Return the connection of the runner, and close the port; blocks.

        ``has_ended`` reports whether the runner's process has ended.

        Raises:
            ConnectionError: the runner has ended, or did not connect in ``timeout_s``.
            OSError: the connection broke.
        """
        deadline = time.monotonic() + timeout_s
        with self._listener, _Strangers(self._listener, self.invitation.secret) as strangers:
            while (connection := strangers.next_proven()) is None:
                if has_ended():
                    raise ConnectionError("it ended before it connected")
                if time.monotonic() >= deadline:
                    raise ConnectionError(f"it did not connect within {timeout_s:g} s")
        try:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.sendall(self.invitation.answer)
            return ready(connection)
        except OSError:
            connection.close()
            raise

    def close(self) -> None:
        """Close the port, unless `accept` has."""
        self._listener.close()


class _Strangers:
    """Connections that have not proven yet to be the runner's; none can hold up another."""

    def __init__(self, listener: socket.socket, secret: bytes) -> None:
        self._listener = listener
        self._secret = secret
        self._received: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        listener.settimeout(0)  # a connection may be gone again
        self._selector.register(listener, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stranger in list(self._received):
            self._drop(stranger)
        self._selector.close()

    def next_proven(self) -> socket.socket | None:
        """Return a connection that has sent the secret, None if there is none within `POLL_S`."""
        for key, _ in self._selector.select(POLL_S):
            if key.fileobj is self._listener:
                self._meet()
                continue
            for stranger in [each for each in self._received if each is key.fileobj]:
                if self._proves(stranger):
                    self._selector.unregister(stranger)
                    del self._received[stranger]
                    return stranger
        return None

    def _meet(self) -> None:
        try:
            stranger, _ = self._listener.accept()
        except OSError:
            return
        if len(self._received) == MAX_STRANGERS:
            self._drop(next(iter(self._received)))
        stranger.settimeout(0)
        self._received[stranger] = b""
        self._selector.register(stranger, selectors.EVENT_READ)

    def _proves(self, stranger: socket.socket) -> bool:
        """Read from a connection; return whether it has sent the secret, close it if another."""
        received = self._received[stranger]
        try:
            part = stranger.recv(SECRET_BYTES - len(received))
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        received = self._received[stranger] = received + part
        if part and len(received) < SECRET_BYTES:
            return False
        if hmac.compare_digest(received, self._secret):
            return True
        self._drop(stranger)
        return False

    def _drop(self, stranger: socket.socket) -> None:
        self._selector.unregister(stranger)
        del self._received[stranger]
        stranger.close()


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # where other programs could take the port as well
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind((LOOPBACK, 0))
        listener.listen(MAX_STRANGERS)
    except OSError:
        listener.close()
        raise
    return listener
