"""Files behind addresses that clients of a server name: images, sounds and documents.

Only hosts that the server's owner has listed (``LOCALRUN_FETCH_IMAGES``), and of these only public
addresses: a name is resolved once, and the address that was checked is the one that is connected
to (`localrun.registry.public`). No proxy is used, since it would resolve the name again. Redirects
are followed within the same host. Size and time are bounded.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError, OverloadedError
from localrun.registry.http import REDIRECTS, Http, http_error
from localrun.registry.origins import DEFAULT_PORTS, host_of, next_url, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.public import PublicOnly

MAX_BYTES = 16 * 1024 * 1024
CONNECT_S, STALL_S, LONGEST_S = 5.0, 5.0, 20.0
MAX_REDIRECTS = 3
MAX_FETCHES = 8  # at once
PIECE = 1 << 16
OK = 200
ANY = "1"  # every public host
RETRY_S = 5.0


class AddressedFiles:
    """Fetches files from the listed hosts; all methods may be called from any thread."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        *,
        is_offline: bool = False,
        rule: PublicOnly | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``hosts`` are names, ``*.name`` for those below one, or "1" for all public ones.

        A host has the port of the scheme, unless it is listed as ``host:port``.
        """
        self._hosts = hosts
        self._is_offline = is_offline
        self._rule = rule
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below; no other lock is taken inside
        self._http: Http | None = None
        self._open: dict[str, Future[bytes]] = {}  # by address

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

    def fetch(self, url: str) -> bytes:
        """Return the content of a file; blocks. Callers of the same address share one request.

        Raises:
            OverloadedError: `MAX_FETCHES` files are being fetched.
            NetworkError: the host is not public or does not answer, or the file is too large.
        """
        with self._lock:
            future = self._open.get(url)
            is_first = future is None
            if future is None:
                if len(self._open) >= MAX_FETCHES:
                    raise OverloadedError(
                        f"{MAX_FETCHES} files are being fetched already", retry_after_s=RETRY_S
                    )
                future = self._open[url] = Future()
        if is_first:
            self._fill(future, url)
        return future.result()

    def _fill(self, future: Future[bytes], url: str) -> None:
        try:
            content = self._content(url)
        except BaseException as error:
            future.set_exception(_as_ours(error, url))
            if not isinstance(error, Exception):
                raise
        else:
            future.set_result(content)
        finally:
            with self._lock:
                del self._open[url]

    def _content(self, url: str) -> bytes:
        deadline, host = self._clock() + LONGEST_S, host_of(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._client().open(url, follow=False) as response:
                location = response.header("Location")
                if response.status not in REDIRECTS or location is None:
                    if response.status != OK:
                        raise http_error(response, "the file")
                    return self._body(response.read, response.header("Content-Length"), deadline)
                url = next_url(url, location)
            if host_of(url) != host or not self.allows(url):
                raise NetworkError(f"{host} redirects to {host_of(url)}, which is not followed")
        raise NetworkError(f"{host} redirects more than {MAX_REDIRECTS} times")

    def _body(self, read: Callable[[int], bytes], length: str | None, deadline: float) -> bytes:
        if length is not None and length.isdigit() and int(length[:20]) > MAX_BYTES:
            raise NetworkError(_too_large(int(length[:20])))
        pieces, num_bytes = [], 0
        while piece := read(PIECE):
            num_bytes += len(piece)
            if num_bytes > MAX_BYTES:
                raise NetworkError(_too_large(num_bytes))
            if self._clock() > deadline:
                raise NetworkError(f"the file takes more than {LONGEST_S:.0f} s")
            pieces.append(piece)
        return b"".join(pieces)

    def _client(self) -> Http:
        from localrun.registry.public import PublicOnly  # brings urllib3

        with self._lock:
            if self._http is None:
                self._http = Http(
                    {"no_proxy": "*"},
                    is_offline=self._is_offline,
                    rule=self._rule or PublicOnly(),
                    connect_timeout_s=CONNECT_S,
                    stall_timeout_s=STALL_S,
                )
            return self._http


def _too_large(num_bytes: int) -> str:
    return f"the file has {num_bytes} bytes or more, at most {MAX_BYTES} are fetched"


def _as_ours(error: BaseException, url: str) -> BaseException:
    """Return an error of urllib3's that `Http` did not translate as a `NetworkError`."""
    if isinstance(error, LocalrunError) or not isinstance(error, Exception):
        return error
    return NetworkError(f"{host_of(url)} cannot be read: {type(error).__name__}")
