"""Push of a model to an OCI registry: existing blobs are skipped, uploads can be resumed.

Sends the manifest exactly as it is in the store, so that a pull from there has the same digest. The
position of an upload is kept beside the downloads:

    partial/push-<hex of repository and digest>/session     the upload's URL, mode 0600
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.disk import storage_errors
from localrun.errors import UsageError
from localrun.names.ref import ModelRef, ModelSource
from localrun.registry.oci.blob import OutgoingBlob, UploadSession
from localrun.services.remotes.stored import refuse_entry
from localrun.store.manifest import MAX_BYTES
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.registry.oci.registry import OciRegistry
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.manifest import Descriptor
    from localrun.store.store import Entry

PRIVATE = 0o600
LONGEST_ADDRESS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Model that was pushed to a registry."""

    name: str  # at the registry
    manifest: str  # digest
    size_bytes: int
    sent_bytes: int


def push_model(
    workspace: Workspace,
    ref: ModelRef,
    target: ModelRef,
    report: ProgressReport,
    *,
    is_insecure: bool,
) -> Pushed:
    """Push a model of the store to a registry; blocks.

    Raises:
        ModelNotFoundError: the model does not exist.
        UsageError: the target is no registry, or the model is not in the store.
        NetworkError: the registry refuses or does not answer; the same command resumes.
        IntegrityError: a file of the model is damaged.
    """
    entry = find_pushed(workspace, ref, target)
    store = workspace.store
    is_insecure = is_insecure or store.allows_plain_http(target)
    store.check_whole(entry)
    registry = workspace.registry(target.host or "", is_insecure=is_insecure)
    blobs = entry.manifest.blobs
    report.begin(entry.manifest.size_bytes, len(blobs))
    content = store.blobs.read(entry.ref.manifest, max_bytes=MAX_BYTES)
    with store.lease([entry.ref.manifest, *(blob.digest for blob in blobs)]):
        sent = sum(_send(workspace, registry, target, blob, report) for blob in blobs)
        digest = registry.push_manifest(target.repo, target.tag, content, entry.manifest.media_type)
    return Pushed(
        name=str(target),
        manifest=digest,
        size_bytes=entry.manifest.size_bytes,
        sent_bytes=sent,
    )


def find_pushed(workspace: Workspace, ref: ModelRef, target: ModelRef) -> Entry:
    """Return the entry of a model that can be pushed to a target.

    Raises:
        ModelNotFoundError: the model does not exist.
        UsageError: the target is no registry, or the model is not in the store or is remote.
    """
    if target.source is not ModelSource.REGISTRY:
        raise UsageError(
            f"{target} is not in an OCI registry",
            hint=f"localrun push {ref} ghcr.io/me/{ref.model}",
        )
    if ref.source is ModelSource.FILE:  # whether something is there or not
        raise UsageError(f"{ref} is a path, not the name of a model", hint=f"localrun import {ref}")
    store = workspace.store
    entry = store.find(ref)
    if entry is None:
        workspace.models.find_model(str(ref))
        raise UsageError(
            f"{ref} comes with localrun and cannot be pushed by this name",
            hint=f"localrun cp {ref.model} mine; localrun push mine HOST/NAME",
        )
    refuse_entry(entry, "pushed")
    return entry


def _send(
    workspace: Workspace,
    registry: OciRegistry,
    target: ModelRef,
    blob: Descriptor,
    report: ProgressReport,
) -> int:
    """Upload a blob unless the registry has it; return the bytes sent."""
    name = blob.name or f"{blob.role} {blob.digest[7:19]}"
    if registry.has_blob(target.repo, blob.digest):
        report.advance(name, blob.size_bytes, blob.size_bytes)
        return 0
    path = workspace.store.blobs.path(blob.digest, blob.size_bytes)
    folder = workspace.store.layout.partial / _session_name(target, blob.digest)
    registry.upload_blob(
        target.repo,
        OutgoingBlob(
            digest=blob.digest,
            size_bytes=blob.size_bytes,
            open_at=lambda position: _open_at(path, position),
        ),
        on_bytes=lambda done: report.advance(name, done, blob.size_bytes),
        session=UploadSession(
            location=_load(folder / "session"),
            on_session=lambda location: _keep(folder / "session", location),
        ),
    )
    shutil.rmtree(folder, ignore_errors=True)
    return blob.size_bytes


def _session_name(target: ModelRef, digest: str) -> str:
    identity = f"{target.host}/{target.repo} {digest}"
    return "push-" + hashlib.sha256(identity.encode()).hexdigest()[:32]


def _open_at(path: Path, position: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(position)
    return file


def _load(path: Path) -> str | None:
    try:
        return path.read_text()[:LONGEST_ADDRESS] or None
    except (OSError, UnicodeDecodeError):
        return None


def _keep(path: Path, location: str) -> None:
    fresh = path.with_name("session.new")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch(mode=PRIVATE)
        fresh.write_text(location)
        replace_file(fresh, path)
