"""Download of a file in one request, for files without known size or version.

Parts of two requests might not belong together, so a failure restarts the file.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NetworkError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.registry.transfer.options import DownloadOptions
    from localrun.registry.transfer.sources import DownloadSource, DownloadSources


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFileDownload:
    """Digest and size of the bytes written."""

    hexdigest: str  # sha256
    size_bytes: int


def fetch_whole(
    sources: DownloadSources, path: Path, size: int | None, options: DownloadOptions
) -> WholeFileDownload:
    """Download the file and return its digest and size; a failure restarts it.

    Raises:
        NetworkError: no source sends the whole file.
    """
    while True:
        source = any_source(sources)
        try:
            return _fetch(source, path, size, options)
        except NetworkError as error:
            sources.failed(source, error, num_bytes=0)


def any_source(sources: DownloadSources) -> DownloadSource:
    """Return the next source to request, after its retry delay."""
    source = sources.pick(needs_ranges=False)
    if source is None:
        raise NetworkError("no source is known for this file")
    threading.Event().wait(source.wait_s)
    return source


def _fetch(
    source: DownloadSource, path: Path, size: int | None, options: DownloadOptions
) -> WholeFileDownload:
    opened = source.reader.open(0, None, size=size, etag=None)
    expected = size if size is not None else opened.metadata.size_bytes
    seen, never = hashlib.sha256(), threading.Event()
    try:
        with path.open("wb") as data:
            for piece in opened.pieces(options.limit.piece_bytes):
                options.limit.take(len(piece), never)
                data.write(piece)
                seen.update(piece)
                options.report(data.tell(), expected)
            data.flush()
            os.fsync(data.fileno())
            received = data.tell()
    finally:
        opened.close()
    if expected not in {None, received}:
        raise NetworkError(f"{source.reader.source.name} sends {received} bytes, not {expected}")
    return WholeFileDownload(hexdigest=seen.hexdigest(), size_bytes=received)
