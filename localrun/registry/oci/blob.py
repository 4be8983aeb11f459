"""What is uploaded: bytes that are read again from any position as often as the line breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 16  # one send has ten seconds (http.py), so slow lines need small pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingBlob:
    """The bytes to upload; ``open_at`` opens them from a position."""

    digest: str  # "sha256:<hex>"
    size_bytes: int
    open_at: Callable[[int], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """An upload that another process may go on with.

    ``location`` is what ``on_session`` was told last, None for a new upload. It may hold
    a secret of the registry: keep it where only the user reads.
    """

    location: str | None = None
    on_session: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes from ``start`` to before ``end`` as a request's body, the same at each iteration.

    ``on_bytes`` is told the position that was reached.
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
