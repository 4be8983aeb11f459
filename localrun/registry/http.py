"""HTTP as downloads need it: ranges, redirects by hand, proxies, TLS always verified.

A credential belongs to one origin and is sent to no other, also not after a redirect.
Every failure is one of the errors below; a status that a caller may want to see is not
a failure. The home of urllib3.

    NetworkError
    |- OfflineError       LOCALRUN_OFFLINE is set: no call was made
    `- HttpError          the server answered with a status that does not help
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import re
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3

from localrun import __version__
from localrun.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONNECT_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0
MOST_REDIRECTS = 8
PASSING = {408, 425, 429}
REDIRECTS = {301, 302, 303, 307, 308}
LONGEST_WAIT_S = 120.0
MOST_BODY = 64 << 20
MOST_DRAINED = 1 << 16
POOL_SIZE = 16
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class OfflineError(NetworkError):
    """No network call is made, for LOCALRUN_OFFLINE is set."""

    code = "offline"


class HttpError(NetworkError):
    """The server's status does not help."""

    code = "http_error"

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s: float | None = None
        self.is_passing = status not in range(400, 500) or status in PASSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Headers that go to one origin only."""

    origin: str  # "https://hf.co", with the port if it is not the scheme's
    headers: Mapping[str, str] = field(repr=False)

    def for_url(self, url: str) -> Mapping[str, str]:
        """Return the headers if the URL is of the origin, else none."""
        return self.headers if origin_of(url) == self.origin else {}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body has not been read."""

    raw: urllib3.BaseHTTPResponse
    url: str  # where redirects ended

    @property
    def status(self) -> int:
        """Return the status."""
        return self.raw.status

    def header(self, name: str) -> str | None:
        """Return a header."""
        return self.raw.headers.get(name)

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes, none at the end.

        Raises:
            NetworkError: the connection broke.
        """
        try:
            return self.raw.read1(count)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise NetworkError(f"{host_of(self.url)}: the connection broke: {error}") from error

    def body(self, most: int = MOST_BODY) -> bytes:
        """Return the whole body.

        Raises:
            NetworkError: it is longer than ``most`` bytes, or broke.
        """
        pieces, total = [], 0
        while piece := self.read(1 << 16):
            total += len(piece)
            if total > most:
                raise NetworkError(f"{host_of(self.url)} sends more than {most} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Let go; the connection is used again unless much of the body was not read."""
        left = self.raw.length_remaining
        try:
            if left is None or left > MOST_DRAINED:
                self.raw.close()
            else:
                self.raw.read()
                self.raw.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Http:
    """Connections to any host. Safe to use from many threads."""

    def __init__(self, environ: Mapping[str, str], *, is_offline: bool = False) -> None:
        self._is_offline = is_offline
        options: dict[str, Any] = {
            "ssl_context": _tls(environ),
            "timeout": urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=STALL_TIMEOUT_S),
            "retries": False,
            "maxsize": POOL_SIZE,
            "headers": {"User-Agent": f"localrun/{__version__}", "Accept-Encoding": "identity"},
        }
        self._direct = urllib3.PoolManager(**options)
        self._proxies = {
            scheme: _proxy(address, options)
            for scheme, address in urllib.request.getproxies().items()
            if scheme in {"http", "https"}
        }

    def check_online(self, url: str) -> None:
        """Return if the network may be used, for those who reach ``url`` by other means.

        Raises:
            OfflineError: there is to be no network.
        """
        if self._is_offline:
            raise OfflineError(
                f"no network is used, for LOCALRUN_OFFLINE is set; {host_of(url)} was wanted",
                hint="LOCALRUN_OFFLINE=0 localrun ...   for this command alone",
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
        """Send a request and return the answer, whatever its status; redirects are followed.

        Raises:
            OfflineError: there is to be no network.
            NetworkError: no answer, or redirects that lead nowhere.
        """
        for _ in range(MOST_REDIRECTS):
            response = self._send(url, headers or {}, credential, method, body)
            location = response.header("Location")
            if response.status not in REDIRECTS or location is None or not follow:
                return response
            response.close()
            url = _next_url(url, location)
            if response.status == 303:  # noqa: PLR2004 - See Other
                method, body = "GET", None
        raise NetworkError(f"{host_of(url)} redirects without end")

    def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        credential: Credential | None,
        method: str,
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        self.check_online(url)
        sent = {
            **self._direct.headers,
            **headers,
            **(credential.for_url(url) if credential else {}),
        }
        try:
            raw = self._manager(url).request(
                method, url, headers=sent, body=body, redirect=False, preload_content=False,
                decode_content=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise NetworkError(
                f"{host_of(url)} does not answer: {_reason(error)}",
                hint="check the network; HTTPS_PROXY names a proxy",
            ) from error
        return Response(raw, url)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = _parts(url)
        proxy = self._proxies.get(parts.scheme)
        if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
            return self._direct
        return proxy


def origin_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = _parts(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def host_of(url: str) -> str:
    """Return host and port, for messages: a URL's path and query may hold secrets."""
    return _parts(url).netloc.rpartition("@")[2] or url.partition("?")[0]


def http_error(response: Response, what: str, hint: str | None = None) -> HttpError:
    """Return the error of a status that does not help."""
    error = HttpError(
        f"{host_of(response.url)} answers {response.status} for {what}",
        status=response.status,
        hint=hint,
    )
    error.retry_after_s = retry_after(response.header("Retry-After"))
    return error


def retry_after(text: str | None) -> float | None:
    """Return how long a server wants to be left alone, within reason (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(LONGEST_WAIT_S, max(0.0, seconds)) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _next_url(url: str, location: str) -> str:
    following = urljoin(url, location)
    old, new = _parts(url), _parts(following)
    if new.scheme not in {"http", "https"} or (old.scheme, new.scheme) == ("https", "http"):
        raise NetworkError(f"{host_of(url)} redirects to an address that is not safe")
    return following


def _parts(url: str) -> SplitResult:
    if UNSAFE.search(url):  # urllib3 would connect to another host than urlsplit tells
        raise NetworkError(f"not an address: {url[:200]!r}")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise NetworkError(f"not an address: {url[:200]!r}") from error


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies, by the system's certificates or those that are named."""
    named = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context()
    if named and os.path.isfile(named):  # noqa: PTH113 - a plain test of a setting
        context.load_verify_locations(named)
    if not context.get_ca_certs() and not context.cert_store_stats()["x509_ca"]:
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _proxy(address: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(address if "//" in address else f"http://{address}")
    headers = None
    if parts.username:
        headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}")
    clean = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(clean, proxy_headers=headers, **options)


def _reason(error: BaseException) -> str:
    """Return the innermost cause, which names the thing."""
    text = str(error.__cause__ or error.__context__ or error)
    return text.rpartition(": ")[2] if "object at 0x" in text else text
