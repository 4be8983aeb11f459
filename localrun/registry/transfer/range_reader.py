"""Range requests to one source of a file, and the checks of their responses.

Distinguishes what real servers do wrong: 200 instead of 206, a range that was not requested, a
changed or different file, a wrong length, an expired signed URL, and unrequested compression.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NetworkError
from localrun.registry.http import HttpError, http_error
from localrun.registry.origins import host_of, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.registry.http import Http, Response
    from localrun.registry.origins import Credential
    from localrun.registry.remote import FileSource

PIECE_BYTES = 1 << 20
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
NO_BYTES = "bytes */0"
GONE = {404, 410}
PARTIAL, OK, NOT_SATISFIABLE = 206, 200, 416
REFUSED = {401, 403}
EXPIRED = {400, *REFUSED, *GONE}  # the answers of hubs and CDNs for an expired signed URL


class SourceUnusableError(NetworkError):
    """The source will never send the file, however often it is asked."""


class NoRangesError(NetworkError):
    """The source sends the file only from its beginning."""


class FileChangedError(NetworkError):
    """The source has another file than before under the same URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMetadata:
    """Metadata of the whole file in a response."""

    size_bytes: int | None
    etag: str | None  # a strong ETag, or the Last-Modified time
    has_ranges: bool


class RangeResponse:
    """Checked response whose body begins at ``start``."""

    def __init__(self, response: Response, start: int, metadata: RemoteMetadata) -> None:
        self.start = start
        self.metadata = metadata
        self._response = response

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield the body in pieces; a broken connection raises `NetworkError`."""
        while piece := self._response.read(piece_bytes):
            yield piece

    def interrupt(self) -> None:
        """End a read that blocks another thread."""
        self._response.interrupt()

    def close(self) -> None:
        """Release the connection."""
        self._response.close()


class RangeReader:
    """Reader of one source; remembers where redirects led. Safe to use from many threads."""

    def __init__(self, http: Http, source: FileSource) -> None:
        self.source = source
        self._http = http
        self._refreshing = threading.Lock()  # guards _credential; held during a token request
        self._url = source.url
        self._credential = source.credential

    def open(
        self, start: int, end: int | None, *, size: int | None, etag: str | None
    ) -> RangeResponse:
        """Request ``[start, end)``; if the ``etag`` has changed, the server sends all bytes.

        Raises: SourceUnusableError: the source does not have the file. FileChangedError: the source
        has another file. NoRangesError: the source sends the whole file although ``start`` is not
        0. HttpError: an error status, which may be temporary. NetworkError: the source does not
        answer.
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
        """Request the remembered redirect target, or the source's URL again if that has expired."""
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
        """Return whether the source itself, not a redirect target, wants another credential."""
        is_itself = origin_of(response.url) == origin_of(self.source.url)
        return is_itself and response.status in REFUSED

    def _refreshed(self, used: Credential | None) -> Credential | None:
        """Return a newer credential; of many refused threads, one requests it."""
        with self._refreshing:
            if self._credential is used and self.source.refresh is not None:
                self._credential = self.source.refresh()
            return self._credential

    def _checked(
        self, response: Response, start: int, size: int | None, etag: str | None
    ) -> RangeResponse:
        if start == 0 and response.status == NOT_SATISFIABLE:
            metadata, first = _metadata_of_empty_file(response), 0
        else:
            _check_status(response, self.source)
            metadata, first = _metadata(response)
        name = self.source.name
        if first > start:
            raise NetworkError(f"{name} sends another range than requested")
        if size is not None and metadata.size_bytes not in {None, size}:
            raise FileChangedError(f"{name} has a file of {metadata.size_bytes} bytes, not {size}")
        has_version = metadata.etag is not None or response.status == OK
        if etag is not None and has_version and metadata.etag != etag:
            raise FileChangedError(f"the file of {name} has changed")
        if first < start and response.status == OK:
            raise NoRangesError(f"{name} does not support range requests")
        return RangeResponse(response, first, metadata)


def ask(http: Http, source: FileSource) -> RemoteMetadata:
    """Return a source's metadata of its file, by a request for the first byte.

    Some servers reject HEAD requests.

    Raises:
        NetworkError: the source has no file, or does not answer.
    """
    opened = RangeReader(http, source).open(0, 1, size=None, etag=None)
    opened.close()
    return opened.metadata


def _check_status(response: Response, source: FileSource) -> None:
    """Raise the error of a response that carries no bytes of the file."""
    if response.status == NOT_SATISFIABLE:
        raise _shorter(source.name)
    if response.status in GONE | REFUSED and response.url == source.url:
        raise SourceUnusableError(
            f"{source.name} answers {response.status} for {source.url.partition('?')[0]}",
            hint=_hint(response.status, source),
        )
    if response.status not in {OK, PARTIAL}:
        error = http_error(response, "a file")
        error.is_passing |= response.url != source.url  # an expired signed URL
        raise error
    if response.header("Content-Encoding") not in {None, "", "identity"}:
        raise SourceUnusableError(
            f"{source.name} sends the file compressed, which was not requested"
        )


def _metadata_of_empty_file(response: Response) -> RemoteMetadata:
    """Return the metadata of an empty file, which has no ranges (RFC 9110, 14.1.2)."""
    if response.header("Content-Range") != NO_BYTES:
        raise _shorter(host_of(response.url))
    return RemoteMetadata(size_bytes=0, etag=_etag(response), has_ranges=True)


def _metadata(response: Response) -> tuple[RemoteMetadata, int]:
    """Return the metadata in the headers, and the position of the body."""
    etag = _etag(response)
    if response.status == OK:
        length = response.header("Content-Length") or ""
        size = int(length) if LENGTH.fullmatch(length) else None
        return RemoteMetadata(size_bytes=size, etag=etag, has_ranges=False), 0
    match = CONTENT_RANGE.fullmatch(response.header("Content-Range") or "")
    if match is None:
        raise HttpError("a partial response has no valid Content-Range", status=PARTIAL)
    first, _, total = match.groups()
    size = None if total == "*" else int(total)
    return RemoteMetadata(size_bytes=size, etag=etag, has_ranges=True), int(first)


def _etag(response: Response) -> str | None:
    etag = response.header("ETag")
    return response.header("Last-Modified") if etag is None or etag.startswith("W/") else etag


def _shorter(name: str) -> FileChangedError:
    return FileChangedError(f"{name} has a shorter file than promised")


def _hint(status: int, source: FileSource) -> str | None:
    return (source.refused_hint or "log in, or set HF_TOKEN") if status in REFUSED else None
