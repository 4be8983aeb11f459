"""HTTP client of engines: the only home of httpx2, imported at the first request.

Everything is bounded: the time to connect, the silence of an engine, its headers (h11 refuses more
than 100 KiB), and the bytes of a body. Redirects are not followed, bodies are not decompressed,
and a proxy of the environment is used for https alone, where it sees no key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.registry.http import OfflineError
from localrun.remote.errors import malformed, status_error, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import httpx2

    from localrun.remote.model import RemoteAddress

CONNECT_S = 5.0
DEFAULT_SILENCE_S = 600.0
MAX_ERROR_BODY = 64 << 10
MAX_STREAM = 256 << 20
MAX_BODY = 64 << 20
KEPT_CONNECTIONS, KEPT_S = 64, 30.0
HEADERS = {"User-Agent": f"localrun/{__version__}", "Accept-Encoding": "identity"}
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One request to one address of a remote model."""

    name: str  # of the remote model, for errors
    address: RemoteAddress
    path: str  # below the address, "chat/completions"
    body: bytes | None = field(default=None, repr=False)  # JSON; None is a GET
    key: str | None = field(default=None, repr=False)
    silence_s: float | None = None  # in place of the client's
    is_background: bool = False  # gives way to others, at an engine that knows how

    @property
    def url(self) -> str:
        """Return the URL."""
        return f"{self.address.url}/{self.path}"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers; the key goes to the address alone, since nothing is followed."""
        headers = dict(HEADERS)
        if self.body is not None:
            headers["Content-Type"] = JSON
        if self.is_background:
            headers["X-Localrun-Priority"] = "background"
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers


class EngineResponse:
    """Response with status 2xx whose body is not read yet."""

    def __init__(self, raw: httpx2.Response, request: EngineRequest, silence_s: float) -> None:
        self._raw = raw
        self._request = request
        self._silence_s = silence_s

    @property
    def media_type(self) -> str:
        """Return the type of the body, in lower case and without parameters."""
        return self._raw.headers.get("content-type", "")[:200].partition(";")[0].strip().lower()

    async def pieces(self, max_bytes: int = MAX_STREAM) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives.

        Raises:
            RemoteEngineError: it breaks off, is silent for too long, or has too many bytes.
        """
        import httpx2

        name, address = self._request.name, self._request.address
        num_bytes = 0
        try:
            async with contextlib.aclosing(self._raw.aiter_raw()) as pieces:
                async for piece in pieces:
                    num_bytes += len(piece)
                    if num_bytes > max_bytes:
                        raise malformed(name, address, f"sends more than {max_bytes} bytes")
                    yield piece
        except httpx2.ReadTimeout as error:
            said = f"was silent for {self._silence_s:g} s in the middle of its answer"
            raise malformed(name, address, said) from error
        except httpx2.HTTPError as error:
            raise malformed(name, address, "broke off in the middle of its answer") from error

    async def body(self, max_bytes: int = MAX_BODY) -> bytes:
        """Return the whole body.

        Raises:
            RemoteEngineError: as for `pieces`.
        """
        async with contextlib.aclosing(self.pieces(max_bytes)) as pieces:
            return b"".join([piece async for piece in pieces])


class EngineHttp:
    """Connections to engines; belongs to one event loop."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        is_offline: bool = False,
        silence_s: float = DEFAULT_SILENCE_S,
    ) -> None:
        self._environ = environ
        self._is_offline = is_offline
        self._silence_s = silence_s

    @contextlib.asynccontextmanager
    async def open(self, request: EngineRequest) -> AsyncGenerator[EngineResponse, None]:
        """Send a request and yield its response; leaving the block ends the engine's work.

        Raises:
            OfflineError: LOCALRUN_OFFLINE is set, and the engine is on another machine.
            RemoteEngineError: the engine does not answer, redirects or fails.
            RemoteBusyError: the engine is overloaded.
            UsageError: the engine refuses the request.
        """
        self._check_online(request)
        silence_s = request.silence_s or self._silence_s
        async with contextlib.AsyncExitStack() as stack:
            raw = await self._send(request, stack, silence_s)
            if not 200 <= raw.status_code < 300:  # noqa: PLR2004 - statuses of success
                raise await _refusal(raw, request)
            encoding = raw.headers.get("content-encoding", "identity")
            if encoding.lower() not in {"", "identity"}:
                raise malformed(request.name, request.address, "compresses what nobody asked for")
            yield EngineResponse(raw, request, silence_s)

    async def close(self) -> None:
        """Close all connections."""
        for name in ("_direct", "_by_proxy"):
            if name in self.__dict__:
                await self.__dict__[name].aclose()

    def _check_online(self, request: EngineRequest) -> None:
        if self._is_offline and not request.address.is_loopback:
            raise OfflineError(
                f"{request.name} is answered by {request.address.host}: LOCALRUN_OFFLINE is set",
                hint="localrun list   shows the models that are on this machine",
            )

    async def _send(
        self, request: EngineRequest, stack: contextlib.AsyncExitStack, silence_s: float
    ) -> httpx2.Response:
        """Return the response once its headers are here; bounds the time of endless headers too."""
        import httpx2

        name, address = request.name, request.address
        client = (
            self._by_proxy if address.is_encrypted and not address.is_loopback else self._direct
        )
        timeout = httpx2.Timeout(silence_s, connect=CONNECT_S, pool=None)
        stream = client.stream(
            "GET" if request.body is None else "POST",
            request.url,
            content=request.body,
            headers=request.headers,
            timeout=timeout,
        )
        try:
            async with asyncio.timeout(silence_s + CONNECT_S):
                return await stack.enter_async_context(stream)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise unreachable(name, address, f"does not answer: {_reason(error)}") from error
        except (httpx2.ReadTimeout, TimeoutError) as error:
            raise malformed(name, address, f"did not answer in {silence_s:g} s") from error
        except httpx2.HTTPError as error:
            raise unreachable(name, address, f"closed the connection: {_reason(error)}") from error

    @cached_property
    def _direct(self) -> httpx2.AsyncClient:
        return self._client(uses_environ=False)

    @cached_property
    def _by_proxy(self) -> httpx2.AsyncClient:
        return self._client(uses_environ=True)

    def _client(self, *, uses_environ: bool) -> httpx2.AsyncClient:
        import logging

        import httpx2

        for noisy in ("httpx2", "httpcore2"):  # they log the URL of each request
            logging.getLogger(noisy).setLevel(logging.WARNING)
        limits = httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
        )
        return httpx2.AsyncClient(limits=limits, trust_env=uses_environ, follow_redirects=False)


async def _refusal(raw: httpx2.Response, request: EngineRequest) -> Exception:
    """Return the error of a response that is not 2xx."""
    import httpx2

    body = b""
    with contextlib.suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            async for piece in raw.aiter_raw():
                body += piece[: MAX_ERROR_BODY - len(body)]
                if len(body) >= MAX_ERROR_BODY:
                    break
    return status_error(
        request.name, request.address, raw.status_code, raw.headers, body, request.key
    )


def _reason(error: BaseException) -> str:
    """Return the innermost cause, which names the problem."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)[:200] or type(error).__name__
