"""Outgoing blobs: bytes that can be read again from any position when an upload is interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 16  # each send must end in ten seconds (http.py), also on slow lines


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingBlob:
    """Blob to upload; ``open_at`` opens its bytes at a position."""

    digest: str  # "sha256:<hex>"
    size_bytes: int
    open_at: Callable[[int], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """Upload that another process may resume.

    ``location`` is the last value passed to ``on_session``, or None for a new upload. It may hold a
    secret of the registry: store it where only the user can read it.
    """

    location: str | None = None
    on_session: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes from ``start`` to before ``end`` as a request body, the same at each iteration.

    ``on_bytes`` receives the position reached.
    """

    blob: OutgoingBlob
    start: int
    end: int
    on_bytes: Callable[[int], None]

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the body."""
        return {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self.end - self.start),
        }

    def __iter__(self) -> Iterator[bytes]:
        at = self.start
        with self._open() as file:
            while at < self.end:
                piece = self._read(file, min(PIECE_BYTES, self.end - at))
                yield piece
                at += len(piece)
                self.on_bytes(at)

    def _open(self) -> BinaryIO:
        try:
            return self.blob.open_at(self.start)
        except OSError as error:
            raise StorageError(f"cannot read {self.blob.digest}: {error.strerror}") from error

    def _read(self, file: BinaryIO, count: int) -> bytes:
        try:
            piece = file.read(count)
        except OSError as error:
            raise StorageError(f"cannot read {self.blob.digest}: {error.strerror}") from error
        if not piece:
            raise IntegrityError(f"{self.blob.digest} is shorter than {self.blob.size_bytes} bytes")
        return piece
