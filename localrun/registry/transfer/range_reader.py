"""Ask one remote for one interval of a file and check that it sends just that.

What real servers do wrong is told apart: 200 in place of 206, a range that was not asked
for, a file that has changed or is another one, a length that is a lie, a signed address
that has expired, compressed bodies nobody asked for.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NetworkError
from localrun.registry.http import HttpError, host_of, http_error, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.registry.http import Credential, Http, Response
    from localrun.registry.remote import FileSource

PIECE_BYTES = 1 << 20
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
NO_BYTES = "bytes */0"
GONE = {404, 410}
PARTIAL, OK, NOT_SATISFIABLE = 206, 200, 416
REFUSED = {401, 403}
EXPIRED = {400, *REFUSED, *GONE}  # what hubs and CDNs say of a signed address that is too old


class SourceUnusableError(NetworkError):
    """The remote will not help with the file, however often it is asked."""


class NoRangesError(NetworkError):
    """The remote sends the file from its beginning only."""


class FileChangedError(NetworkError):
    """The remote has another file than before under the same address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMetadata:
    """What an answer says of the whole file."""

    size_bytes: int | None
    etag: str | None  # a strong one, or the time of its last change
    has_ranges: bool


class RangeResponse:
    """An answer that was checked: its body begins at ``start``."""

    def __init__(self, response: Response, start: int, facts: RemoteMetadata) -> None:
        self.start = start
        self.metadata = facts
        self._response = response

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield the body; a broken connection is a `NetworkError` in the middle."""
        while piece := self._response.read(piece_bytes):
            yield piece

    def interrupt(self) -> None:
        """End a read that another thread is blocked in."""
        self._response.interrupt()

    def close(self) -> None:
        """Let the connection go."""
        self._response.close()


class RangeReader:
    """One remote, and where its redirects led last time. Safe to use from many threads."""

    def __init__(self, http: Http, remote: FileSource) -> None:
        self.source = remote
        self._http = http
        self._refreshing = threading.Lock()
        self._url = remote.url
        self._credential = remote.credential

    def open(
        self, start: int, end: int | None, *, size: int | None, etag: str | None
    ) -> RangeResponse:
        """Ask for ``[start, end)``; an ``etag`` that no longer holds brings the whole file.

        Raises:
            RemoteUnusableError: it does not have the file.
            FileChangedError: it has another one.
            NoRangesError: it sends the whole file though ``start`` is not 0.
            HttpError: a status that may pass.
            NetworkError: no answer.
        """
        last = "" if end is None else str(end - 1)
        headers = {"Range": f"bytes={start}-{last}"} | ({"If-Range": etag} if etag else {})
        response = self._send(headers)
        try:
            return self._checked(response, start, size, etag)
        except BaseException:
            response.close()
            raise

    def _send(self, headers: dict[str, str]) -> Response:
        """Go to where the redirects led; once more from the start if that has expired."""
        url, used = self._url, self._credential
        response = self._http.open(url, headers=headers, credential=used)
        if url != self.source.url and response.status in EXPIRED:
            response.close()
            response = self._http.open(self.source.url, headers=headers, credential=used)
        if self.source.refresh is not None and self._is_refused(response):
            response.close()
            credential = self._refreshed(used)
            response = self._http.open(self.source.url, headers=headers, credential=credential)
        self._url = response.url if response.status in {OK, PARTIAL} else self.source.url
        return response

    def _is_refused(self, response: Response) -> bool:
        """Return whether the remote itself, not one that it led to, wants other credentials."""
        is_itself = origin_of(response.url) == origin_of(self.source.url)
        return is_itself and response.status in REFUSED

    def _refreshed(self, used: Credential | None) -> Credential | None:
        """Return newer credentials; of many threads that were refused, one asks for them."""
        with self._refreshing:
            if self._credential is used and self.source.refresh is not None:
                self._credential = self.source.refresh()
            return self._credential

    def _checked(
        self, response: Response, start: int, size: int | None, etag: str | None
    ) -> RangeResponse:
        if start == 0 and response.status == NOT_SATISFIABLE:
            facts, first = _facts_of_no_bytes(response), 0
        else:
            _check_status(response, self.source)
            facts, first = _facts(response)
        name = self.source.name
        if first > start:
            raise NetworkError(f"{name} sends another range than it was asked for")
        if size is not None and facts.size_bytes not in {None, size}:
            raise FileChangedError(f"{name} has a file of {facts.size_bytes} bytes, not {size}")
        is_told = facts.etag is not None or response.status == OK
        if etag is not None and is_told and facts.etag != etag:
            raise FileChangedError(f"the file of {name} has changed")
        if first < start and response.status == OK:
            raise NoRangesError(f"{name} does not go on in the middle of a file")
        return RangeResponse(response, first, facts)


def ask(http: Http, remote: FileSource) -> RemoteMetadata:
    """Return what a remote says of its file, by the first byte: some know no HEAD.

    Raises:
        NetworkError: it has no file, or does not answer.
    """
    opened = RangeReader(http, remote).open(0, 1, size=None, etag=None)
    opened.close()
    return opened.metadata


def _check_status(response: Response, remote: FileSource) -> None:
    """Refuse an answer that brings no bytes of the file."""
    if response.status == NOT_SATISFIABLE:
        raise _shorter(remote.name)
    if response.status in GONE | REFUSED and response.url == remote.url:
        raise SourceUnusableError(
            f"{remote.name} answers {response.status} for {remote.url.partition('?')[0]}",
            hint=_hint(response.status, remote),
        )
    if response.status not in {OK, PARTIAL}:
        error = http_error(response, "a file")
        error.is_passing |= response.url != remote.url  # a signed address that has expired
        raise error
    if response.header("Content-Encoding") not in {None, "", "identity"}:
        raise SourceUnusableError(
            f"{remote.name} sends the file compressed, which nobody asked for"
        )


def _facts_of_no_bytes(response: Response) -> RemoteMetadata:
    """Return the facts of an empty file, of which no part can be had (RFC 9110, 14.1.2)."""
    if response.header("Content-Range") != NO_BYTES:
        raise _shorter(host_of(response.url))
    return RemoteMetadata(size_bytes=0, etag=_etag(response), has_ranges=True)


def _facts(response: Response) -> tuple[RemoteMetadata, int]:
    """Return what the headers say, and where the body begins."""
    etag = _etag(response)
    if response.status == OK:
        length = response.header("Content-Length") or ""
        size = int(length) if LENGTH.fullmatch(length) else None
        return RemoteMetadata(size_bytes=size, etag=etag, has_ranges=False), 0
    match = CONTENT_RANGE.fullmatch(response.header("Content-Range") or "")
    if match is None:
        raise HttpError("a partial answer does not say which part it is", status=PARTIAL)
    first, _, total = match.groups()
    size = None if total == "*" else int(total)
    return RemoteMetadata(size_bytes=size, etag=etag, has_ranges=True), int(first)


def _etag(response: Response) -> str | None:
    etag = response.header("ETag")
    return response.header("Last-Modified") if etag is None or etag.startswith("W/") else etag


def _shorter(name: str) -> FileChangedError:
    return FileChangedError(f"{name} has a shorter file than was promised")


def _hint(status: int, remote: FileSource) -> str | None:
    return (remote.refused_hint or "log in, or set HF_TOKEN") if status in REFUSED else None
