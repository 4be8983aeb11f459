"""Models as one file: the tar of an OCI image layout, written and read as a stream.

    oci-layout               {"imageLayoutVersion": "1.0.0"}
    index.json               {"schemaVersion": 2, "manifests": [{"mediaType", "digest", "size",
                               "annotations": {"org.opencontainers.image.ref.name": "<name>"}}]}
    blobs/sha256/<hex>       the manifest, then the config, then the layers

The same model under the same name is always the same bytes. Read is any order of members,
and the archive of Docker Model Runner, whose ``manifest.json`` is the manifest itself.
A blob is stored and verified as it comes; a name is written when all of them are here.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError, ModelNameError, StorageError, UsageError
from localrun.names.parse import parse_name
from localrun.names.ref import Source
from localrun.store.layout import hex_of, translated
from localrun.store.manifest import MOST_BYTES, Descriptor, parse_manifest
from localrun.store.tar import CHUNK_BYTES, CutShortError, read_members, write_end, write_member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from localrun.names.ref import ModelRef
    from localrun.store.locks import Lease
    from localrun.store.refs import StoredRef
    from localrun.store.store import Entry, Store
    from localrun.store.tar import Member

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"  # Docker's; its ref.name is only the tag
BLOBS = "blobs/sha256/"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
HELD = {"oci-layout", "index.json", "manifest.json"}
MOST_MODELS = 1000


@dataclass(frozen=True, slots=True)
class _Named:
    """A manifest of an archive, and what the archive calls it."""

    digest: str
    name: str | None


def export_model(store: Store, entry: Entry, out: BinaryIO) -> int:
    """Write a model as a tar and return its bytes; every blob is checked on the way.

    Raises:
        IntegrityError: a blob is missing or damaged; the archive is then cut short.
        OSError: ``out`` cannot be written.
    """
    manifest = store.blobs.read(entry.ref.manifest, most=MOST_BYTES)
    first = Descriptor(
        media_type=entry.manifest.media_type,
        digest=entry.ref.manifest,
        size_bytes=len(manifest),
    )
    index = _index(first, entry.ref.name)
    num_bytes = write_member(out, "oci-layout", len(LAYOUT), [LAYOUT])
    num_bytes += write_member(out, "index.json", len(index), [index])
    with _kept(store, [blob.digest for blob in (first, *entry.manifest.blobs)]):
        for blob in (first, *entry.manifest.blobs):
            name = BLOBS + hex_of(blob.digest)
            num_bytes += write_member(out, name, blob.size_bytes, _checked_chunks(store, blob))
    return num_bytes + write_end(out)


@contextlib.contextmanager
def _kept(store: Store, digests: Sequence[str]) -> Iterator[None]:
    """Keep blobs from being swept while the block runs, where the store can be written."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(StorageError):  # a disk that is only read loses nothing
            stack.enter_context(store.lease(digests))
        yield


def import_archive(
    store: Store,
    source: BinaryIO,
    *,
    name: ModelRef | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> list[StoredRef]:
    """Store the models of a tar and return their names, or the one that is given instead.

    Reads the source once, from start to end. Blobs that came whole stay when it fails, and
    the next import skips them; a sweep deletes those that no name needs.

    Raises:
        IntegrityError: the archive is cut short, damaged, or not one of models.
        UsageError: it says no name or has several models, and ``name`` does not fit that.
    """
    with store.lease() as lease:
        held = _store_blobs(store, source, lease, on_bytes)
        models = _models(store, held, lease)
        refs = [_ref(model, name, models) for model in models]
        for model in models:
            _check_whole(store, model)
        stored = {
            ref.key: store.name(ref, _content(store, model), lease)
            for ref, model in zip(refs, models, strict=True)
        }
    return list(stored.values())


def _index(manifest: Descriptor, name: str) -> bytes:
    described = manifest.to_json() | {"annotations": {REF_NAME: name}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described]}
    return json.dumps(index, sort_keys=True, separators=(",", ":")).encode()


def _checked_chunks(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """Yield a blob's bytes and raise at their end if they were not the right ones."""
    path, hashed, left = store.blobs.path(blob.digest), hashlib.sha256(), blob.size_bytes
    with translated(path), path.open("rb") as file:
        while chunk := file.read(min(left, CHUNK_BYTES)):
            left -= len(chunk)
            hashed.update(chunk)
            yield chunk
    if left or hashed.hexdigest() != hex_of(blob.digest):
        raise IntegrityError(f"damaged: {path}", hint="localrun verify --repair")


def _store_blobs(
    store: Store, source: BinaryIO, lease: Lease, on_bytes: Callable[[int], None] | None
) -> dict[str, bytes]:
    """Store the blobs of an archive and return its other files that matter."""
    held: dict[str, bytes] = {}
    num_stored = 0
    try:
        for member in read_members(source, on_bytes):
            if member.name.startswith(BLOBS):
                num_stored += _store_blob(store, member, lease)
            elif member.name in HELD and member.name not in held:
                held[member.name] = _small(member)
    except CutShortError as error:
        raise IntegrityError(
            f"the archive is cut short; {num_stored} files of it that came whole are kept",
            hint="import the whole archive again: what is here is skipped",
        ) from error
    return held


def _store_blob(store: Store, member: Member, lease: Lease) -> bool:
    """Keep a blob unless it is here; tell whether it was not."""
    digest = f"sha256:{member.name.removeprefix(BLOBS)}"
    lease.add([f"sha256:{hex_of(digest)}"])
    path = store.blobs.find(digest)
    if path is not None:
        with translated(path):
            if path.stat().st_size == member.size_bytes:
                return False
    store.blobs.write(member.chunks, digest, lease)
    return True


def _small(member: Member) -> bytes:
    if member.size_bytes > MOST_BYTES:
        raise IntegrityError(f"{member.name} of the archive has {member.size_bytes} bytes")
    return b"".join(member.chunks)


def _models(store: Store, held: dict[str, bytes], lease: Lease) -> list[_Named]:
    """Return the manifests that the archive's index names."""
    if "index.json" not in held and "manifest.json" in held:
        parse_manifest(held["manifest.json"])
        return [_Named(store.blobs.put(held["manifest.json"], lease), None)]
    try:
        described = json.loads(held["index.json"])["manifests"]
        manifests = [(Descriptor.from_json(each), _name_in(each)) for each in described]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityError("no archive of models: it has no index of manifests") from error
    if not 0 < len(manifests) <= MOST_MODELS:
        raise IntegrityError(f"an archive of {len(manifests)} models")
    lease.add(found.digest for found, _ in manifests)
    return [_Named(found.digest, name) for found, name in manifests]


def _name_in(described: dict[str, Any]) -> str | None:
    annotations = described.get("annotations") or {}
    name = annotations.get(FULL_NAME) or annotations.get(REF_NAME)
    return name if isinstance(name, str) else None


def _ref(model: _Named, name: ModelRef | None, models: list[_Named]) -> ModelRef:
    """Return the name that a model gets."""
    if name is not None:
        if len({each.digest for each in models}) > 1:
            raise UsageError("the archive has several models", hint="import it without a name")
        return name
    if model.name is None:
        raise UsageError("the archive does not say the model's name", hint="give it one")
    try:
        ref = parse_name(model.name)
        _ = ref.key
    except (ModelNameError, ValueError) as error:
        raise IntegrityError(f"the archive calls a model {model.name[:200]!r}") from error
    if ref.source is Source.FILE:
        raise IntegrityError(f"the archive calls a model {model.name[:200]!r}, a file's name")
    return ref if ref.location is not None else replace(ref, digest=None)


def _check_whole(store: Store, model: _Named) -> None:
    missing = [model.digest] if store.blobs.find(model.digest) is None else []
    if not missing:
        blobs = parse_manifest(_content(store, model)).blobs
        missing = [blob.digest for blob in blobs if store.blobs.find(blob.digest) is None]
    if missing:
        raise IntegrityError(f"the archive lacks a file of the model: {missing[0]}")


def _content(store: Store, model: _Named) -> bytes:
    return store.blobs.read(model.digest, most=MOST_BYTES)
