"""Ask one remote for one interval of a file and check that it sends just that.

What real servers do wrong is told apart: 200 in place of 206, a range that was not asked
for, a file that has changed or is another one, a length that is a lie, a signed address
that has expired, compressed bodies nobody asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NetworkError
from localrun.registry.http import HttpError, http_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.registry.http import Http, Response
    from localrun.registry.remote import Remote

PIECE_BYTES = 1 << 20
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)
GONE = {404, 410}
PARTIAL, OK, NOT_SATISFIABLE = 206, 200, 416
REFUSED = {401, 403}


class RemoteUnusableError(NetworkError):
    """The remote will not help with the file, however often it is asked."""


class NoRangesError(NetworkError):
    """The remote sends the file from its beginning only."""


class FileChangedError(NetworkError):
    """The remote has another file than before under the same address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an answer says of the whole file."""

    size_bytes: int | None
    etag: str | None  # a strong one, or the time of its last change
    has_ranges: bool


class Opened:
    """An answer that was checked: its body begins at ``start``."""

    def __init__(self, response: Response, start: int, facts: Facts) -> None:
        self.start = start
        self.facts = facts
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """Yield the body; a broken connection is a `NetworkError` in the middle."""
        while piece := self._response.read(PIECE_BYTES):
            yield piece

    def close(self) -> None:
        """Let the connection go."""
        self._response.close()


class Door:
    """One remote, and where its redirects led last time."""

    def __init__(self, http: Http, remote: Remote) -> None:
        self.remote = remote
        self._http = http
        self._url = remote.url
        self._credential = remote.credential

    def open(self, start: int, end: int | None, *, size: int | None, etag: str | None) -> Opened:
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
        response = self._http.open(self._url, headers=headers, credential=self._credential)
        is_stale = self._url != self.remote.url and response.status >= 400  # noqa: PLR2004
        is_refused = response.status in REFUSED and self.remote.refresh is not None
        if is_stale or is_refused:
            response.close()
            self._url = self.remote.url
            if is_refused and self.remote.refresh is not None:
                self._credential = self.remote.refresh()
            response = self._http.open(self._url, headers=headers, credential=self._credential)
        self._url = response.url if response.status in {OK, PARTIAL} else self.remote.url
        return response

    def _checked(
        self, response: Response, start: int, size: int | None, etag: str | None
    ) -> Opened:
        _check_status(response, self.remote)
        facts, first = _facts(response)
        name = self.remote.name
        if first > start:
            raise NetworkError(f"{name} sends another range than it was asked for")
        if size is not None and facts.size_bytes not in {None, size}:
            raise FileChangedError(f"{name} has a file of {facts.size_bytes} bytes, not {size}")
        if etag is not None and facts.etag is not None and facts.etag != etag:
            raise FileChangedError(f"the file of {name} has changed")
        if first < start and response.status == OK:
            raise NoRangesError(f"{name} does not go on in the middle of a file")
        return Opened(response, first, facts)


def skip(opened: Opened, count: int) -> Iterator[bytes]:
    """Yield the body without its first ``count`` bytes."""
    for piece in opened.pieces():
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:]
        count = 0


def _check_status(response: Response, remote: Remote) -> None:
    """Refuse an answer that brings no bytes of the file."""
    if response.status == NOT_SATISFIABLE:
        raise FileChangedError(f"{remote.name} has a shorter file than was promised")
    if response.status in GONE | REFUSED and response.url == remote.url:
        raise RemoteUnusableError(
            f"{remote.name} answers {response.status} for {remote.url.partition('?')[0]}",
            hint=_hint(response.status),
        )
    if response.status not in {OK, PARTIAL}:
        error = http_error(response, "a file")
        error.is_passing = response.url != remote.url  # a signed address that has expired
        raise error
    if response.header("Content-Encoding") not in {None, "", "identity"}:
        raise RemoteUnusableError(
            f"{remote.name} sends the file compressed, which nobody asked for"
        )


def _facts(response: Response) -> tuple[Facts, int]:
    """Return what the headers say, and where the body begins."""
    etag = response.header("ETag")
    if etag is None or etag.startswith("W/"):
        etag = response.header("Last-Modified")
    if response.status == OK:
        length = response.header("Content-Length") or ""
        size = int(length) if length.isascii() and length.isdigit() else None
        return Facts(size_bytes=size, etag=etag, has_ranges=False), 0
    match = CONTENT_RANGE.fullmatch(response.header("Content-Range") or "")
    if match is None:
        raise HttpError("a partial answer does not say which part it is", status=PARTIAL)
    first, _, total = match.groups()
    size = None if total == "*" else int(total)
    return Facts(size_bytes=size, etag=etag, has_ranges=True), int(first)


def _hint(status: int) -> str | None:
    return "log in, or set HF_TOKEN" if status in REFUSED else None
