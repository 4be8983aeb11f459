"""Model archive: the tar of an OCI image layout, written and read as a stream.

    oci-layout               {"imageLayoutVersion": "1.0.0"}
    index.json               {"schemaVersion": 2, "manifests": [{"mediaType", "digest", "size",
                               "annotations": {"org.opencontainers.image.ref.name": "<name>"}}]}
    blobs/sha256/<hex>       the manifest, then the config, then the layers

The same model under the same name always has the same bytes. Members are read in any order, and
also the archive of Docker Model Runner, whose ``manifest.json`` is the manifest itself. Each blob
is stored and verified as it arrives; a name is written after all its blobs, and replaces no model
without the user's consent (`archive_names`).
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import IntegrityError, StorageError
from localrun.store.archive_names import (
    REF_NAME,
    NamedManifest,
    NamedModel,
    check_names,
    manifests_of_index,
    named_models,
)
from localrun.store.layout import hex_of
from localrun.store.manifest import MAX_BYTES, Descriptor, parse_manifest
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
BLOBS = "blobs/sha256/"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
HELD = {"oci-layout", "index.json", "manifest.json"}


def export_model(store: Store, entry: Entry, out: BinaryIO) -> int:
    """Write a model as a tar, and return the bytes written; verifies every blob.

    Raises:
        IntegrityError: a blob is missing or damaged; the archive is truncated if only reading
            the blob shows the damage.
        OSError: ``out`` cannot be written.
    """
    store.check_whole(entry)
    manifest = store.blobs.read(entry.ref.manifest, max_bytes=MAX_BYTES)
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
    """Keep blobs from garbage collection in the block, if the store is writable."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(StorageError):  # a read-only disk loses nothing
            stack.enter_context(store.lease(digests))
        yield


def import_archive(
    store: Store,
    source: BinaryIO,
    *,
    name: ModelRef | None = None,
    on_bytes: Callable[[int], None] | None = None,
    is_forced: bool = False,
) -> list[StoredRef]:
    """Store the models of a tar and return their names, or the given name instead.

    With ``is_forced`` the archive's names replace models, and may be names of registries. Reads the
    source once, from start to end. If the import fails, complete blobs stay and the next import
    skips them; garbage collection deletes those that no name needs.

    Raises:
        IntegrityError: the archive is truncated, damaged, or has no models.
        UsageError: the archive has no name and ``name`` is None, or it has several models and
            ``name`` is given.
        NameConflictError: a name needs the user's consent; nothing is stored if the index is
            the first member, as `export` writes it.
    """

    def named(manifests: list[NamedManifest]) -> list[NamedModel]:
        models = named_models(manifests, name)
        if not is_forced:
            check_names(store, models, name)
        return models

    with store.lease() as lease:
        held = _store_blobs(
            store, source, lease, on_bytes, lambda index: named(manifests_of_index(index))
        )
        models = named(_manifests(store, held, lease))
        for digest in dict.fromkeys(model.digest for model in models):
            _check_whole(store, digest)
        return [store.tag(model.ref, _content(store, model.digest), lease) for model in models]


def _index(manifest: Descriptor, name: str) -> bytes:
    described = manifest.to_json() | {"annotations": {REF_NAME: name}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described]}
    return json.dumps(index, sort_keys=True, separators=(",", ":")).encode()


def _checked_chunks(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """Yield a blob's bytes; raise at their end if the digest does not match."""
    path, hashed, left = store.blobs.path(blob.digest), hashlib.sha256(), blob.size_bytes
    with storage_errors(path), path.open("rb") as file:
        while chunk := file.read(min(left, CHUNK_BYTES)):
            left -= len(chunk)
            hashed.update(chunk)
            yield chunk
    if left or hashed.hexdigest() != hex_of(blob.digest):
        raise IntegrityError(f"damaged: {path}", hint="localrun verify --repair")


def _store_blobs(
    store: Store,
    source: BinaryIO,
    lease: Lease,
    on_bytes: Callable[[int], None] | None,
    check_index: Callable[[bytes], object],
) -> dict[str, bytes]:
    """Store the blobs of an archive, and return its index and manifest files."""
    held: dict[str, bytes] = {}
    num_stored = 0
    try:
        for member in read_members(source, on_bytes):
            if member.name.startswith(BLOBS):
                num_stored += _store_blob(store, member, lease)
            elif member.name in HELD and member.name not in held:
                held[member.name] = _small(member)
                if member.name == "index.json":
                    check_index(held[member.name])
    except CutShortError as error:
        raise IntegrityError(
            f"the archive is truncated; {num_stored} complete files of it are kept",
            hint="import the complete archive again: files that are stored are skipped",
        ) from error
    return held


def _store_blob(store: Store, member: Member, lease: Lease) -> bool:
    """Store a blob; return False if it is stored already."""
    digest = f"sha256:{member.name.removeprefix(BLOBS)}"
    lease.add([f"sha256:{hex_of(digest)}"])
    if store.blobs.find(digest, member.size_bytes) is not None:
        return False
    store.blobs.write(member.chunks, digest, lease)
    return True


def _small(member: Member) -> bytes:
    if member.size_bytes > MAX_BYTES:
        raise IntegrityError(f"{member.name} of the archive has {member.size_bytes} bytes")
    return b"".join(member.chunks)


def _manifests(store: Store, held: dict[str, bytes], lease: Lease) -> list[NamedManifest]:
    """Return the manifests that the archive names."""
    if "index.json" not in held and "manifest.json" in held:
        parse_manifest(held["manifest.json"])
        return [NamedManifest(store.blobs.put(held["manifest.json"], lease), None)]
    manifests = manifests_of_index(held.get("index.json", b"{}"))
    lease.add(manifest.digest for manifest in manifests)
    return manifests


def _check_whole(store: Store, manifest: str) -> None:
    missing = [manifest] if store.blobs.find(manifest) is None else []
    if not missing:
        blobs = parse_manifest(_content(store, manifest)).blobs
        missing = [blob.digest for blob in blobs if store.blobs.find(blob.digest) is None]
    if missing:
        raise IntegrityError(f"the archive lacks a file of the model: {missing[0]}")


def _content(store: Store, manifest: str) -> bytes:
    return store.blobs.read(manifest, max_bytes=MAX_BYTES)
