"""Files behind addresses that clients of a server name: images, sounds and documents.

Only hosts that the server's owner has listed (``LOCALRUN_FETCH_IMAGES``), and of these only public
addresses: a name is resolved once, and the address that was checked is the one that is connected
to (`localrun.registry.public`). No proxy is used, since it would resolve the name again. Redirects
are followed within the same host. Size and time are bounded.

Each file is fetched by a thread of its own, at most `MAX_FETCHES` at once, for all callers that
wait for it. Invariant: the connection is shut down when the last of them has left, which each does
at the deadline at the latest, so no response, however slow, occupies a thread longer. Resolving the
name and connecting end by timeouts of their own; callers wait for neither.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError, OverloadedError
from localrun.registry.http import REDIRECTS, Http, http_error
from localrun.registry.origins import DEFAULT_PORTS, host_of, next_url, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.registry.http import Response
    from localrun.registry.public import PublicOnly

MAX_BYTES = 16 * 1024 * 1024
CONNECT_S, STALL_S, LONGEST_S = 5.0, 5.0, 20.0
MAX_REDIRECTS = 3
MAX_FETCHES = 8  # at once
PIECE = 1 << 16
OK = 200
ANY = "1"  # every public host
RETRY_S = 5.0


class Fetch:
    """A file that is being fetched; ``content`` becomes its bytes."""

    def __init__(self) -> None:
        self.content: Future[bytes] = Future()
        self.content.set_running_or_notify_cancel()  # no caller can cancel it for the others
        self.num_callers = 0  # guarded by the lock of `AddressedFiles`
        self._deadline_s = time.monotonic() + LONGEST_S
        self._lock = threading.Lock()  # guards the two below; no other lock is taken inside
        self._connection: socket.socket | None = None
        self._has_ended = False

    @property
    def remaining_s(self) -> float:
        """Return the seconds until every caller leaves."""
        return max(0.0, self._deadline_s - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Take the newest connection, which `end` shuts down.

        Raises:
            NetworkError: the fetch has ended.
        """
        with self._lock:
            if self._has_ended:
                raise NetworkError("nobody waits for the file")
            self._close()
            self._connection = connection.dup()  # TLS takes the descriptor of the other one

    def end(self) -> None:
        """Shut down the connection: a read that waits for it fails."""
        with self._lock:
            self._has_ended = True
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):  # closed by the other side
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            self._connection = None


class AddressedFiles:
    """Fetches files from the listed hosts; all methods may be called from any thread."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        *,
        is_offline: bool = False,
        rule: PublicOnly | None = None,
    ) -> None:
        """``hosts`` are names, ``*.name`` for those below one, or "1" for all public ones.

        A host has the port of the scheme, unless it is listed as ``host:port``.
        """
        self._hosts = hosts
        self._is_offline = is_offline
        self._rule = rule
        self._lock = threading.Lock()  # guards the two below; no other lock is taken inside
        self._open: dict[str, Fetch] = {}  # by address; callers wait for each
        self._num_threads = 0

    def allows(self, url: str) -> bool:
        """Return whether the host of an address is listed."""
        try:
            parts = parse_url(url)
        except NetworkError:
            return False
        host, scheme = (parts.host or "").lower().strip("[]"), parts.scheme or ""
        if not host or scheme not in DEFAULT_PORTS or parts.auth is not None:
            return False
        port = parts.port or DEFAULT_PORTS[scheme]
        if f"{host}:{port}" in self._hosts:
            return True
        return port == DEFAULT_PORTS[scheme] and any(
            listed in {ANY, host} or (listed.startswith("*.") and host.endswith(listed[1:]))
            for listed in self._hosts
        )

    @contextlib.contextmanager
    def fetching(self, url: str) -> Iterator[Fetch]:
        """Fetch a file while the block lasts; callers of the same address share one request.

        The address must be allowed. A caller waits no longer than ``remaining_s``. The content
        raises a NetworkError if the host is not public or does not answer, or the file is too
        large.

        Raises:
            OverloadedError: `MAX_FETCHES` files are being fetched.
        """
        fetch = self._joined(url)
        try:
            yield fetch
        finally:
            self._leave(url, fetch)

    def _joined(self, url: str) -> Fetch:
        with self._lock:
            fetch = self._open.get(url)
            if fetch is None:
                if self._num_threads >= MAX_FETCHES:
                    raise OverloadedError(
                        f"{MAX_FETCHES} files are being fetched already", retry_after_s=RETRY_S
                    )
                fetch = Fetch()
                threading.Thread(
                    target=self._run, args=(url, fetch), name="fetch", daemon=True
                ).start()
                self._open[url] = fetch
                self._num_threads += 1
            fetch.num_callers += 1
            return fetch

    def _leave(self, url: str, fetch: Fetch) -> None:
        with self._lock:
            fetch.num_callers -= 1
            if fetch.num_callers:
                return
            if self._open.get(url) is fetch:
                del self._open[url]
        fetch.end()

    def _run(self, url: str, fetch: Fetch) -> None:
        try:
            fetch.content.set_result(self._content(url, fetch.watch))
        except Exception as error:  # noqa: BLE001 - callers raise it
            fetch.content.set_exception(_as_ours(error, url))
        finally:
            fetch.end()
            with self._lock:
                self._num_threads -= 1

    def _content(self, url: str, on_connect: Callable[[socket.socket], None]) -> bytes:
        host = host_of(url)
        with contextlib.closing(self._client(on_connect)) as client:
            for _ in range(MAX_REDIRECTS + 1):
                response = client.open(url, follow=False)
                try:
                    location = response.header("Location")
                    if response.status not in REDIRECTS or location is None:
                        return _body(response)
                finally:
                    response.discard()
                url = next_url(url, location)
                if host_of(url) != host or not self.allows(url):
                    raise NetworkError(f"{host} redirects to {host_of(url)}, which is not followed")
        raise NetworkError(f"{host} redirects more than {MAX_REDIRECTS} times")

    def _client(self, on_connect: Callable[[socket.socket], None]) -> Http:
        """Return a client for one fetch, so that it uses no connection of an earlier one."""
        from localrun.registry.public import PublicOnly  # brings urllib3

        return Http(
            {"no_proxy": "*"},
            is_offline=self._is_offline,
            rule=replace(self._rule or PublicOnly(), on_connect=on_connect),
            connect_timeout_s=CONNECT_S,
            stall_timeout_s=STALL_S,
        )


def _body(response: Response) -> bytes:
    if response.status != OK:
        raise http_error(response, "the file")
    length = response.header("Content-Length")
    if length is not None and length.isdigit() and int(length[:20]) > MAX_BYTES:
        raise NetworkError(_too_large(int(length[:20])))
    pieces, num_bytes = [], 0
    while piece := response.read(PIECE):
        num_bytes += len(piece)
        if num_bytes > MAX_BYTES:
            raise NetworkError(_too_large(num_bytes))
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(num_bytes: int) -> str:
    return f"the file has {num_bytes} bytes or more, at most {MAX_BYTES} are fetched"


def _as_ours(error: Exception, url: str) -> LocalrunError:
    """Return an error of urllib3's that `Http` did not translate as a `NetworkError`."""
    if isinstance(error, LocalrunError):
        return error
    return NetworkError(f"{host_of(url)} cannot be read: {type(error).__name__}")
