"""Push of a model as an image that a container runtime can mount (``push --as-image``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from localrun.registry.oci.blob import OutgoingBlob
from localrun.services.push import Pushed, find_pushed
from localrun.store.blobs import digest_of
from localrun.store.store_image import (
    ARCHITECTURES,
    INDEX,
    MANIFEST,
    StoreLayer,
    image_config,
    image_index,
    image_manifest,
)

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.registry.oci.registry import OciRegistry
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace


def push_image(
    workspace: Workspace,
    ref: ModelRef,
    target: ModelRef,
    report: ProgressReport,
    *,
    is_insecure: bool,
) -> Pushed:
    """Push a model of the store as an image whose one layer is a read-only store; blocks.

    Raises:
        ModelNotFoundError: the model does not exist.
        UsageError: the target is no registry, or the model is not in the store.
        NetworkError: the registry refuses or does not answer.
        IntegrityError: a file of the model is damaged.
    """
    entry = find_pushed(workspace, ref, target)
    store = workspace.store
    is_insecure = is_insecure or store.allows_plain_http(target)
    store.check_whole(entry)
    registry = workspace.registry(target.host or "", is_insecure=is_insecure)
    with store.lease([entry.ref.manifest, *(blob.digest for blob in entry.manifest.blobs)]):
        layer = StoreLayer(store, entry)
        report.begin(2 * layer.size_bytes, 2)
        digest = layer.digest(lambda done: report.advance("hashing", done, layer.size_bytes))
        blob = OutgoingBlob(digest=digest, size_bytes=layer.size_bytes, open_at=layer.open_at)
        sent = _send(registry, target, blob, report)
    manifests: dict[str, bytes] = {}
    for architecture in ARCHITECTURES:
        config = image_config(digest, architecture)
        sent += _send(registry, target, _small(config), report)
        manifests[architecture] = image_manifest(config, digest, layer.size_bytes)
        content = manifests[architecture]
        registry.push_manifest(target.repo, digest_of(content), content, MANIFEST)
    index = image_index(manifests)
    return Pushed(
        name=str(target),
        manifest=registry.push_manifest(target.repo, target.tag, index, INDEX),
        size_bytes=layer.size_bytes,
        sent_bytes=sent,
    )


def _send(
    registry: OciRegistry, target: ModelRef, blob: OutgoingBlob, report: ProgressReport
) -> int:
    """Upload a blob unless the registry has it; return the bytes sent."""
    name = f"layer {blob.digest[7:19]}"
    if registry.has_blob(target.repo, blob.digest):
        report.advance(name, blob.size_bytes, blob.size_bytes)
        return 0
    registry.upload_blob(
        target.repo, blob, on_bytes=lambda done: report.advance(name, done, blob.size_bytes)
    )
    return blob.size_bytes


def _small(content: bytes) -> OutgoingBlob:
    def open_at(position: int) -> BinaryIO:
        return io.BytesIO(content[position:])

    return OutgoingBlob(digest=digest_of(content), size_bytes=len(content), open_at=open_at)
