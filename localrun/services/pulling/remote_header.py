"""GGUF header of a remote file, read by range requests without the weights."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from localrun.errors import IntegrityError, NetworkError
from localrun.gguf.header import parse_header
from localrun.gguf.reader import Reader
from localrun.registry.transfer.single import any_source
from localrun.registry.transfer.sources import DownloadSources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.gguf.header import Header
    from localrun.registry.http import Http
    from localrun.registry.transfer.sources import DownloadSource
    from localrun.services.pulling.plan import PlannedFile

MIB = 1024 * 1024
PREFIXES = (1 * MIB, 8 * MIB, 32 * MIB, 128 * MIB)  # vocabularies take up to 20 MB
LONGEST_KEPT = 1024


def remote_header(http: Http, shards: Sequence[PlannedFile]) -> Header:
    """Return the merged header of all shards.

    Raises:
        NetworkError: no source sends them.
        IntegrityError: a file is not GGUF, or its header is too long.
    """
    headers = [_header(http, shard) for shard in shards]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    return replace(headers[0], tensors=tensors)


def _header(http: Http, planned: PlannedFile) -> Header:
    sources = DownloadSources(http, planned.file.sources, planned.find_mirrors)
    with tempfile.TemporaryFile() as file:
        for prefix in PREFIXES:
            size = _extend(sources, file, prefix)
            try:
                return parse_header(Reader(file, Path(planned.file.name)), LONGEST_KEPT)
            except IntegrityError:
                if size < prefix:  # the whole file was read
                    raise
    raise IntegrityError(f"{planned.file.name} has an endless header")


def _extend(sources: DownloadSources, file: IO[bytes], end: int) -> int:
    """Fetch the bytes up to ``end`` into the file, and return the file's size."""
    while True:
        source = any_source(sources)
        start = file.seek(0, 2)
        try:
            _fetch(source, file, end)
        except NetworkError as error:
            sources.failed(source, error, num_bytes=file.tell() - start)
            continue
        return file.tell()


def _fetch(source: DownloadSource, file: IO[bytes], end: int) -> None:
    """Append the missing bytes; a server without ranges restarts and is stopped at ``end``."""
    at = file.seek(0, 2)
    opened = source.reader.open(at, end, size=None, etag=None)
    try:
        at = file.seek(opened.start)
        for piece in opened.pieces():
            file.write(piece[: end - at])
            at += len(piece)
            if at >= end:
                break
        file.flush()
    finally:
        opened.close()
