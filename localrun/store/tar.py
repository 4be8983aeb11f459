"""Tar stream: deterministic writing, and reading in one pass.

    512 bytes of header (name, size, kind, checksum), the bytes, zeros up to the next 512;
    two blocks of zeros at the end.

Reading never seeks and holds one block plus one chunk, whatever the headers say. Only folders and
regular files are accepted; a name that would leave its folder, a link or a device is an
`IntegrityError`. ``tarfile`` parses the headers, but does not read the streams, because it keeps a
long name of any size in memory. Supports POSIX.1-2001 (pax) and GNU's long names and sizes.
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
"""

from __future__ import annotations

import itertools
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import write_all
from localrun.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

BLOCK_BYTES = 512
RECORD_BYTES = 10240  # writers pad the last record
CHUNK_BYTES = 1 << 20
MAX_EXTENSION_BYTES = 64 << 10  # a long name, or the fields of a pax header
MAX_MEMBERS = 100_000
LARGEST_MEMBER = 1 << 50
PAX_LENGTH = re.compile(rb"(\d{1,7}) ")
PAX_KINDS = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
FILE_KINDS = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}


class CutShortError(IntegrityError):
    """The stream ended before the archive did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Regular file of an archive; its chunks can be read once, until the next member."""

    name: str  # relative, "/" between folders, no "." or ".."
    size_bytes: int
    chunks: Iterator[bytes]


def write_member(out: BinaryIO, name: str, size_bytes: int, chunks: Iterable[bytes]) -> int:
    """Write a file with a short ASCII name, and return the bytes written.

    The chunks must have ``size_bytes`` in total.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size_bytes, 0o444, 0
    header = info.tobuf(tarfile.PAX_FORMAT)
    padding = -size_bytes % BLOCK_BYTES
    for chunk in itertools.chain([header], chunks, [bytes(padding)]):
        write_all(out, chunk)
    return len(header) + size_bytes + padding


def write_end(out: BinaryIO) -> int:
    """Write the end of an archive, and return the bytes written."""
    write_all(out, bytes(2 * BLOCK_BYTES))
    return 2 * BLOCK_BYTES


def read_members(
    source: BinaryIO, on_bytes: Callable[[int], None] | None = None
) -> Iterator[Member]:
    """Yield the files of an archive up to its end; unread chunks are skipped.

    Raises:
        CutShortError: the stream ends before the archive.
        IntegrityError: the stream is no archive, or has members that a model's archive never has.
        StorageError: the stream cannot be read.
    """
    stream = _Stream(source, on_bytes)
    for _ in range(MAX_MEMBERS):
        info = _next_file(stream)
        if info is None:
            stream.drain(RECORD_BYTES)
            return
        chunks = stream.chunks(info.size)
        yield Member(name=_checked_name(info.name), size_bytes=info.size, chunks=chunks)
        for _skipped in chunks:
            pass
        stream.exactly(-info.size % BLOCK_BYTES)
    raise IntegrityError(f"an archive of more than {MAX_MEMBERS} files")


class _Stream:
    """Exact reads from a source that may return less than requested, as pipes do."""

    def __init__(self, source: BinaryIO, on_bytes: Callable[[int], None] | None) -> None:
        self._source = source
        self._on_bytes = on_bytes

    def exactly(self, count: int) -> bytes:
        """Return the next bytes; the caller bounds their count."""
        return b"".join(self.chunks(count))

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield the next ``count`` bytes."""
        while count:
            chunk = self._read(min(count, CHUNK_BYTES))
            if not chunk:
                raise CutShortError("the archive is truncated")
            count -= len(chunk)
            yield chunk

    def drain(self, most: int) -> None:
        """Read the remaining bytes, so that the writer of a pipe can finish."""
        while most > 0 and (chunk := self._read(most)):
            most -= len(chunk)

    def _read(self, most: int) -> bytes:
        try:
            chunk = self._source.read(most)
        except OSError as error:
            raise StorageError(f"cannot read the archive: {error.strerror or error}") from error
        if chunk and self._on_bytes is not None:
            self._on_bytes(len(chunk))
        return chunk


def _next_file(stream: _Stream) -> tarfile.TarInfo | None:
    """Return the header of the next regular file, or None at the end."""
    changes: dict[str, str] = {}
    for _ in range(MAX_MEMBERS):
        info = _header(stream)
        if info is None:
            return None
        if info.type in PAX_KINDS or info.type == tarfile.GNUTYPE_LONGNAME:
            changes |= _extension(stream, info)
            continue
        info.name = changes.get("path", info.name)
        info.size = _checked_size(changes.get("size", info.size))
        if info.type in FILE_KINDS:
            return info
        if info.type != tarfile.DIRTYPE or info.size:
            raise IntegrityError(f"no regular file in the archive: {info.name[:200]!r}")
        _checked_name(info.name.rstrip("/"))
        changes = {}
    raise IntegrityError(f"an archive of more than {MAX_MEMBERS} folders")


def _header(stream: _Stream) -> tarfile.TarInfo | None:
    block = stream.exactly(BLOCK_BYTES)
    if not any(block):
        stream.exactly(BLOCK_BYTES)
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise IntegrityError("not a tar archive, or a damaged one") from error


def _extension(stream: _Stream, info: tarfile.TarInfo) -> dict[str, str]:
    """Return the name and the size that an extended header sets for the next file."""
    size = _checked_size(info.size)
    if size > MAX_EXTENSION_BYTES:
        raise IntegrityError(f"a header of {size} bytes in the archive")
    content = stream.exactly(size)
    stream.exactly(-size % BLOCK_BYTES)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(content.rstrip(b"\0"))}
    fields = _pax_fields(content)
    return {} if info.type == tarfile.XGLTYPE else fields


def _pax_fields(content: bytes) -> dict[str, str]:
    """Parse records of ``<length> <key>=<value>`` and a newline; return path and size."""
    fields: dict[str, str] = {}
    start = 0
    while start < len(content):
        head = PAX_LENGTH.match(content, start)
        end = start + int(head[1]) if head else 0
        record = content[head.end() : end] if head else b""
        key, equals, value = record.partition(b"=")
        if not equals or not record.endswith(b"\n") or end > len(content):
            raise IntegrityError("a damaged header in the archive")
        if key in {b"path", b"size"}:
            fields[key.decode()] = _text(value[:-1])
        start = end
    return fields


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _checked_size(size: int | str) -> int:
    if isinstance(size, str):
        size = int(size) if size.isascii() and size.isdigit() and len(size) < 20 else -1  # noqa: PLR2004
    if not 0 <= size < LARGEST_MEMBER:
        raise IntegrityError(f"a file of {size} bytes in the archive")
    return size


def _checked_name(name: str) -> str:
    """Return a name without ``./``; raise if it leaves its folder."""
    parts = name.split("/")
    kept = [part for part in parts if part not in {"", "."}]
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts:
        raise IntegrityError(f"a name that leaves its folder in the archive: {name[:200]!r}")
    return "/".join(kept)
