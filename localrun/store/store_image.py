"""Container image of a store with one model: one uncompressed layer, which a runtime can mount.

The layer is a tar of a read-only store, for `LOCALRUN_EXTRA_MODELS`:

    localrun-store.json
    refs/<host>/<namespace>/<model>/<tag>
    blobs/sha256/<hex>                      the manifest and its blobs

It is never written to disk: its bytes are read from the store's files at any position. The same
model has the same bytes on every machine.

https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import IntegrityError
from localrun.store.layout import FORMAT_VERSION, MARKER, hex_of
from localrun.store.manifest import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from localrun.store.store import Entry, Store

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = ("amd64", "arm64")  # the layer has no programs: all share it
BLOCK = 512
CHUNK = 1 << 20
UNDATED = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class _LayerSegment:
    """Bytes of the layer: those given, or a whole file of the store."""

    content: bytes
    path: Path | None
    size_bytes: int


class StoreLayer:
    """The layer of one model; its files must be kept from garbage collection meanwhile."""

    def __init__(self, store: Store, entry: Entry) -> None:
        self._segments = list(_segments(store, entry))
        self._ends: list[int] = []
        end = 0
        for segment in self._segments:
            end += segment.size_bytes
            self._ends.append(end)
        self.size_bytes = end

    def digest(self, on_bytes: Callable[[int], None] = lambda _: None) -> str:
        """Return the digest of the layer; reads everything once.

        Raises:
            IntegrityError: a file was cut meanwhile.
            StorageError: a file cannot be read.
        """
        hashed, done = hashlib.sha256(), 0
        with self.open_at(0) as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
                done += len(chunk)
                on_bytes(done)
        if done != self.size_bytes:
            raise IntegrityError("a file of the model was cut while it was read")
        return f"sha256:{hashed.hexdigest()}"

    def open_at(self, position: int) -> BinaryIO:
        """Return a stream of the layer from a position on."""
        return io.BufferedReader(_LayerReader(self._segments, self._ends, position), CHUNK)


class _LayerReader(io.RawIOBase):
    """Reads segment after segment; one file is open at a time."""

    def __init__(self, segments: list[_LayerSegment], ends: list[int], position: int) -> None:
        self._segments = segments
        self._place = bisect_right(ends, position)
        start = ends[self._place - 1] if self._place else 0
        self._skip = position - start
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # as BufferedReader calls it
        while self._place < len(self._segments):
            if self._file is None:
                self._file = self._opened(self._segments[self._place])
            chunk = self._file.read(len(buffer))
            if chunk:
                buffer[: len(chunk)] = chunk
                return len(chunk)
            self._close_file()
            self._place += 1
        return 0

    def close(self) -> None:
        self._close_file()
        super().close()

    def _opened(self, segment: _LayerSegment) -> BinaryIO:
        if segment.path is None:
            file: BinaryIO = io.BytesIO(segment.content)
        else:
            with storage_errors(segment.path):
                file = segment.path.open("rb")
        file.seek(self._skip)
        self._skip = 0
        return file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def image_config(layer_digest: str, architecture: str) -> bytes:
    """Return the config of an image with one layer."""
    return _canonical(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            "history": [{"created_by": "localrun push --as-image"}],
        }
    )


def image_manifest(config: bytes, layer_digest: str, layer_bytes: int) -> bytes:
    """Return the manifest of an image with one layer."""
    return _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer_bytes}],
        }
    )


def image_index(manifests: dict[str, bytes]) -> bytes:
    """Return the index of the manifests by architecture."""
    entries = [
        {
            "mediaType": MANIFEST,
            "digest": _digest(content),
            "size": len(content),
            "platform": {"architecture": architecture, "os": "linux"},
        }
        for architecture, content in manifests.items()
    ]
    return _canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def _segments(store: Store, entry: Entry) -> Iterator[_LayerSegment]:
    """Yield the tar: headers, files, padding, end."""
    ref = replace(entry.ref, updated=UNDATED)
    reference = store.layout.ref(ref.parsed.key).relative_to(store.layout.root).as_posix()
    marker = json.dumps({"format_version": FORMAT_VERSION}).encode()
    folders = ["blobs", "blobs/sha256"]
    parts = reference.split("/")
    folders += ["/".join(parts[:end]) for end in range(1, len(parts))]
    for folder in folders:
        yield _bytes(_header(f"{folder}/", 0, is_folder=True))
    yield from _member(MARKER, marker)
    yield from _member(reference, ref.to_json())
    manifest = store.blobs.read(entry.ref.manifest, max_bytes=MAX_BYTES)
    yield from _member(f"blobs/sha256/{hex_of(entry.ref.manifest)}", manifest)
    for blob in entry.manifest.blobs:
        path = store.blobs.path(blob.digest, blob.size_bytes)
        yield _bytes(_header(f"blobs/sha256/{hex_of(blob.digest)}", blob.size_bytes))
        yield _LayerSegment(b"", path, blob.size_bytes)
        yield _bytes(bytes(-blob.size_bytes % BLOCK))
    yield _bytes(bytes(2 * BLOCK))


def _member(name: str, content: bytes) -> Iterator[_LayerSegment]:
    yield _bytes(_header(name, len(content)) + content + bytes(-len(content) % BLOCK))


def _header(name: str, size: int, *, is_folder: bool = False) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, 0
    info.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    info.mode = 0o755 if is_folder else 0o444
    return info.tobuf(tarfile.PAX_FORMAT)


def _bytes(content: bytes) -> _LayerSegment:
    return _LayerSegment(content, None, len(content))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _canonical(value: dict[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
