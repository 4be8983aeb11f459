"""HTTP client for downloads: byte ranges, redirects, proxies, and TLS that is always verified.

urllib3 is imported when it is needed: with ``ssl`` and ``email`` it takes 60 ms and 6 MB, and most
commands use no network. `localrun.registry.origins` decides which origin gets a credential.
Every failure raises one of the errors below. A status code alone is not a failure: the caller
decides what a status means.

    NetworkError
    |- OfflineError       LOCALRUN_OFFLINE is set: no request was sent
    `- HttpError          the server answered with an error status
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from localrun.errors import NetworkError
from localrun.registry.origins import host_of, next_url, parse_url, split_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import urllib3

    from localrun.registry.origins import Credential
    from localrun.registry.public import PublicOnly

CONNECT_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0
MAX_REDIRECTS = 8
PASSING = {408, 425, 429}
REDIRECTS = {301, 302, 303, 307, 308}
LONGEST_WAIT_S = 120.0
MAX_BODY = 64 << 20
MAX_DRAINED = 1 << 16
LONGEST_HEADER = 1 << 14  # characters; urllib3 joins repeated headers to megabytes
LONGEST_DATE = 64


class OfflineError(NetworkError):
    """The network is disabled by LOCALRUN_OFFLINE."""

    code = "offline"


class HttpError(NetworkError):
    """The server answered with a status that the caller cannot use."""

    code = "http_error"

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s: float | None = None
        self.is_passing = status not in range(400, 500) or status in PASSING


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP response whose body has not been read yet."""

    raw: urllib3.BaseHTTPResponse
    url: str  # where redirects ended

    @property
    def status(self) -> int:
        """Return the status code."""
        return self.raw.status

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None if it is absent.

        Raises:
            NetworkError: the value is longer than `LONGEST_HEADER`.
        """
        value = self.raw.headers.get(name)
        if value is not None and len(value) > LONGEST_HEADER:
            raise NetworkError(
                f"{host_of(self.url)} sends a header {name} of {len(value)} characters"
            )
        return value

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes of the body, or no bytes at its end.

        Raises:
            NetworkError: the connection broke.
        """
        try:
            return self.raw.read1(count)
        except _failures() as error:
            reason = _reason(error)
            raise NetworkError(f"{host_of(self.url)}: the connection broke: {reason}") from error

    def body(self, max_bytes: int = MAX_BODY) -> bytes:
        """Return the whole body.

        Raises:
            NetworkError: the body is longer than ``max_bytes``, or the connection broke.
        """
        pieces, total = [], 0
        while piece := self.read(1 << 16):
            total += len(piece)
            if total > max_bytes:
                raise NetworkError(f"{host_of(self.url)} sends more than {max_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the response; keep its connection open if little of the body is left unread."""
        unread_bytes = self.raw.length_remaining
        is_short = unread_bytes is not None and unread_bytes <= MAX_DRAINED
        try:
            # reading the rest of a file may stall, so its connection is closed instead
            if unread_bytes != 0 and (self.status in {200, 206} or not is_short):
                self.raw.close()
            else:
                self.raw.read()
                self.raw.release_conn()
        except _failures():
            self.raw.close()

    def discard(self) -> None:
        """Close the response and its connection, and read nothing more."""
        with contextlib.suppress(*_failures()):
            self.raw.close()

    def interrupt(self) -> None:
        """End a read that blocks another thread; that thread sees the end of the stream."""
        with contextlib.suppress(RuntimeError, *_failures()):
            self.raw.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Http:
    """Connection pools for any host. Safe to use from many threads."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        is_offline: bool = False,
        rule: PublicOnly | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        import urllib3

        from localrun.registry.pools import ConnectionPools

        self._is_offline = is_offline
        timeout = urllib3.Timeout(connect=connect_timeout_s, read=stall_timeout_s)
        self._pools = ConnectionPools(environ, timeout, rule)

    def close(self) -> None:
        """Close all idle connections."""
        self._pools.close()

    def check_online(self, url: str) -> None:
        """Check that the network may be used, for code that reaches ``url`` without this client.

        Raises:
            OfflineError: LOCALRUN_OFFLINE is set.
        """
        if self._is_offline:
            raise OfflineError(
                f"cannot connect to {host_of(url)}: LOCALRUN_OFFLINE is set",
                hint="LOCALRUN_OFFLINE=0 localrun ...   enables the network for one command",
            )

    def open(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credential: Credential | None = None,
        method: str = "GET",
        body: bytes | Iterable[bytes] | None = None,
        follow: bool = True,
    ) -> Response:
        """Send a request, follow redirects, and return the response with any other status.

        Raises:
            OfflineError: LOCALRUN_OFFLINE is set.
            PrivateAddressError: the rule forbids the host or the target of a redirect.
            NetworkError: the server does not answer, or redirects without end.
        """
        url, login = split_login(url)
        credential = credential or login
        for _ in range(MAX_REDIRECTS):
            response = self._send(url, headers or {}, credential, method, body)
            location = response.header("Location")
            if response.status not in REDIRECTS or location is None or not follow:
                return response
            response.close()
            url = next_url(url, location)
            if response.status == 303:  # noqa: PLR2004 - See Other
                method, body = "GET", None
        raise NetworkError(f"{host_of(url)} redirects more than {MAX_REDIRECTS} times")

    def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        credential: Credential | None,
        method: str,
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        self.check_online(url)
        pool = self._pools.for_url(parse_url(url))
        sent = {**pool.headers, **headers, **(credential.for_url(url) if credential else {})}
        try:
            raw = pool.request(
                method, url, headers=sent, body=body, redirect=False, preload_content=False,
                decode_content=False,
            )  # fmt: skip
        except _failures() as error:
            raise NetworkError(
                f"{host_of(url)} does not answer: {_reason(error)}",
                hint="check the network; HTTPS_PROXY names a proxy",
            ) from error
        return Response(raw, url)


def http_error(response: Response, resource: str, hint: str | None = None) -> HttpError:
    """Return the error for a status that the caller cannot use."""
    error = HttpError(
        f"{host_of(response.url)} answers {response.status} for {resource}",
        status=response.status,
        hint=hint,
    )
    error.retry_after_s = retry_after(response.header("Retry-After"))
    return error


def retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, at most `LONGEST_WAIT_S` (RFC 9110, 10.2.3)."""
    if text is None or len(text) > LONGEST_DATE:
        return None
    try:
        seconds = float(text)
    except ValueError:
        import email.utils

        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(LONGEST_WAIT_S, max(0.0, seconds)) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _failures() -> tuple[type[Exception], ...]:
    """Return what urllib3 raises."""
    import urllib3

    return (urllib3.exceptions.HTTPError, OSError, ValueError)


def _reason(error: BaseException) -> str:
    """Return the text of the innermost cause, which names the problem."""
    text = str(error.__cause__ or error.__context__ or error)
    return text.rpartition(": ")[2] if "object at 0x" in text else text
