"""Upload of one blob in chunks, resumed after interruptions and by other processes.

    POST   /v2/REPO/blobs/uploads/            201 mounted, or 202 and a Location
    PATCH  <location>   Content-Range: 0-99   202, Range: 0-99 and the next Location
    GET    <location>                         204, Range: what the registry has
    PUT    <location>?digest=sha256:...       201

After an interruption the registry reports the bytes it has, and the upload continues there. An
upload that the registry has forgotten (distribution 2.8 forgets it when a chunk was cut) restarts.
A registry that takes no chunks gets the blob in one PUT. The registry verifies the digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from localrun.errors import IntegrityError, NetworkError
from localrun.registry.http import HttpError, OfflineError
from localrun.registry.oci.api import DENIED, error_code, pull_scope, push_scope
from localrun.registry.oci.blob import Slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.http import Response
    from localrun.registry.oci.api import RegistryApi
    from localrun.registry.oci.blob import OutgoingBlob, UploadSession

CHUNK_BYTES = 16 << 20
LARGEST_CHUNK = 1 << 30
MAX_SETBACKS = 6  # consecutive retries without progress
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 16.0
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
RANGE = re.compile(r"(?:bytes=)?(\d{1,18})-(\d{1,18})", re.ASCII)
NO_CHUNKS = {400, 405, 411, 413, 415, 416, 501}
PASSING = {408, 429}
CREATED, ACCEPTED, NO_CONTENT = 201, 202, 204
OK = 200
BAD_REQUEST, NOT_FOUND, BAD_RANGE, SERVER_ERROR = 400, 404, 416, 500
ASKED, TAKEN = {OK, ACCEPTED, NO_CONTENT}, {OK, CREATED, ACCEPTED, NO_CONTENT}

_log = logging.getLogger(__name__)


class BlobUpload:
    """State of one upload. For one thread."""

    def __init__(
        self,
        api: RegistryApi,
        repo: str,
        blob: OutgoingBlob,
        *,
        session: UploadSession,
        on_bytes: Callable[[int], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._api, self._repo, self._blob = api, repo, blob
        self._session, self._on_bytes, self._sleep = session, on_bytes, sleep
        self._label = f"{repo}@{blob.digest[:19]}"
        self._scopes: tuple[str, ...] = (push_scope(repo),)
        self._location = session.location
        self._has_begun = self._is_unsure = session.location is not None
        self._is_whole = False  # the registry takes no chunks
        self._had_mismatch = False  # the registry reported a digest mismatch once
        self._is_done = False
        self._offset = self._farthest = 0  # bytes that the registry has, and the most it had
        self._chunk_bytes = CHUNK_BYTES
        self._num_setbacks = 0

    def run(self, mount_from: str | None = None) -> None:
        """Upload the blob, or mount it from another repository of the registry that has it.

        Raises:
            NetworkError: the registry refuses, or the connection breaks repeatedly.
            IntegrityError: the bytes do not match the digest.
            StorageError: the bytes cannot be read.
        """
        if mount_from is not None and self._location is None:
            self._mount(mount_from)
        while not self._is_done:
            try:
                self._step()
            except NetworkError as error:
                self._prepare_retry(error)
            if self._offset > self._farthest:
                self._farthest, self._num_setbacks = self._offset, 0

    def _mount(self, other: str) -> None:
        """Mount the blob of another repository; if that fails, the registry begins an upload."""
        scopes = (push_scope(self._repo), pull_scope(other))
        query = urlencode({"mount": self._blob.digest, "from": other})
        with self._api.call("POST", f"{self._uploads}?{query}", scopes) as response:
            if response.status == CREATED:
                self._end()
            else:
                self._accept_session(response)

    def _step(self) -> None:
        if self._location is None:
            with self._api.call("POST", self._uploads, self._scopes) as response:
                self._accept_session(response)
        elif self._is_unsure:
            self._ask(self._location)
        elif self._is_whole:
            self._finish(self._location, self._slice(0, self._blob.size_bytes))
        elif self._offset < self._blob.size_bytes:
            self._send_chunk(self._location)
        else:
            self._finish(self._location, self._slice(0, 0))

    def _accept_session(self, response: Response) -> None:
        if response.status != ACCEPTED:
            raise self._api.refusal(response, self._label)
        smallest = response.header("OCI-Chunk-Min-Length") or ""
        if LENGTH.fullmatch(smallest):
            self._chunk_bytes = min(LARGEST_CHUNK, max(CHUNK_BYTES, int(smallest)))
        self._save_location(response)
        self._has_begun = True

    def _ask(self, location: str) -> None:
        """Ask the registry which bytes it has, after an interruption."""
        if self._is_whole:
            self._restart()
            return
        with self._api.call("GET", location, self._scopes) as response:
            if response.status >= SERVER_ERROR or response.status in {*PASSING, *DENIED}:
                raise self._api.refusal(response, self._label)
            has = _end_of(response.header("Range")) or 0
            if response.status in ASKED and has <= self._blob.size_bytes:
                self._save_location(response)
                self._offset, self._is_unsure = has, False
                return
        self._restart()

    def _send_chunk(self, location: str) -> None:
        start, end = self._offset, min(self._blob.size_bytes, self._offset + self._chunk_bytes)
        body = self._slice(start, end)
        headers = {**body.headers, "Content-Range": f"{start}-{end - 1}"}
        with self._api.call(
            "PATCH", location, self._scopes, headers=headers, body=body
        ) as response:
            if response.status in TAKEN:
                self._accept_chunk(response, start, end)
            elif response.status in NO_CHUNKS and start == 0:
                _log.debug("%s takes no chunks: status %d", self._api.host, response.status)
                self._is_whole, self._location = True, None
            elif response.status in {BAD_RANGE, NOT_FOUND}:
                self._resynchronize(response)
            else:
                raise self._api.refusal(response, self._label)

    def _accept_chunk(self, response: Response, start: int, end: int) -> None:
        has = _end_of(response.header("Range"), default=end)
        if has == 0 and end == 1:  # "0-0" is one byte here; elsewhere it means no bytes
            has = 1
        self._save_location(response)
        if not start < has <= end:
            self._resynchronize(response)
        self._offset = has

    def _resynchronize(self, response: Response) -> None:
        """Continue at the registry's position, or ask for it."""
        self._set_back(self._api.refusal(response, self._label))
        has = _end_of(response.header("Range"), default=-1)
        self._is_unsure = not (response.status == BAD_RANGE and 0 < has <= self._blob.size_bytes)
        if not self._is_unsure:
            self._offset = has

    def _finish(self, location: str, body: Slice) -> None:
        url = f"{location}{'&' if urlsplit(location).query else '?'}"
        url += urlencode({"digest": self._blob.digest})
        call = self._api.call("PUT", url, self._scopes, headers=body.headers, body=body)
        with call as response:
            if response.status in TAKEN - {ACCEPTED}:
                if response.header("Docker-Content-Digest") not in {None, self._blob.digest}:
                    raise IntegrityError(f"{self._api.host} has another digest for {self._label}")
                self._end()
            elif response.status == BAD_REQUEST:
                self._handle_mismatch(response)
            elif response.status in {NOT_FOUND, BAD_RANGE} and not self._is_whole:
                self._resynchronize(response)
            else:
                raise self._api.refusal(response, self._label)

    def _handle_mismatch(self, response: Response) -> None:
        """Restart once, as a cut may have corrupted the upload; a second mismatch is an error."""
        if self._had_mismatch or self._offset == 0:
            code = error_code(response) or response.status
            raise IntegrityError(f"{self._api.host} rejects {self._label}: {code}")
        self._had_mismatch = True
        self._restart()

    def _restart(self) -> None:
        """Restart the upload, unless the registry has the blob and only its response was lost."""
        self._location, self._offset, self._is_unsure = None, 0, False
        if self._api.has_blob(self._repo, self._blob.digest, self._scopes):
            self._end()

    def _prepare_retry(self, error: NetworkError) -> None:
        """Wait for the retry of a failed request, or raise if a retry is pointless."""
        is_passing = not isinstance(error, OfflineError)
        wait_s = min(FIRST_WAIT_S * 2**self._num_setbacks, LONGEST_WAIT_S)
        if isinstance(error, HttpError):
            is_passing = error.status >= SERVER_ERROR or error.status in PASSING
            wait_s = max(wait_s, error.retry_after_s or 0.0)
        if not self._has_begun or not is_passing:
            raise error
        self._set_back(error)
        self._is_unsure = self._location is not None
        _log.debug("%s: the upload continues in %.1f s", self._api.host, wait_s)
        self._sleep(wait_s)

    def _set_back(self, error: NetworkError) -> None:
        self._num_setbacks += 1
        if self._num_setbacks > MAX_SETBACKS:
            raise error

    def _save_location(self, response: Response) -> None:
        """Save the Location of the next request."""
        location = response.header("Location")
        if location is not None:
            self._location = self._api.absolute(response.url, location)
        if self._location is None:
            raise NetworkError(f"{self._api.host} sends no upload location")
        self._session.on_session(self._location)

    def _end(self) -> None:
        self._is_done = True
        self._on_bytes(self._blob.size_bytes)

    def _slice(self, start: int, end: int) -> Slice:
        return Slice(self._blob, start, end, self._on_bytes)

    @property
    def _uploads(self) -> str:
        return self._api.url(self._repo, "blobs", "uploads", "")


def _end_of(text: str | None, default: int = 0) -> int:
    """Return the position after a Range; "0-0" is 0, as distribution reports an empty upload."""
    match = RANGE.fullmatch(text or "")
    if match is None or match[1] != "0":
        return default
    return int(match[2]) + 1 if int(match[2]) > 0 else 0
