"""Pull a model: plan, fetch what is missing, make or keep its manifest, name it.

Until the last step nothing under the model's name changes, so a pull that fails leaves
the old model whole; what it fetched stays for the next try.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.registry.transfer.disk import check_space
from localrun.registry.transfer.options import DownloadOptions, RateLimit
from localrun.services.creating.manifests import check_whole, layer_of, make_manifest
from localrun.services.progress import SilentReport
from localrun.services.pulling.fetch import FetchedBlob, fetch_all, missing_bytes
from localrun.services.pulling.plan import PlannedFile, PullPlan, make_plan
from localrun.store.blobs import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.names.ref import ModelRef
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.locks import Lease
    from localrun.store.manifest import Descriptor, Role
    from localrun.store.store import Entry, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How to pull."""

    limit_bytes_per_s: float | None = None
    num_streams: int | None = None  # None as the settings have it
    is_insecure: bool = False  # plain http to an OCI registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull did."""

    name: str
    manifest: str  # digest
    size_bytes: int
    fetched_bytes: int  # 0: everything was here
    is_changed: bool  # the name means another manifest than before, or a new one


def pull_model(
    workspace: Workspace,
    ref: ModelRef,
    options: PullOptions | None = None,
    report: ProgressReport | None = None,
) -> Pulled:
    """Bring a model into the store, or do nothing if it is complete; blocks.

    Raises:
        ModelNotFoundError: the source does not have it.
        NetworkError: no source answers; the same command goes on later.
        IntegrityError: the bytes are not what was promised; nothing is named.
        StorageError: the disk is full or cannot be written.
    """
    chosen, told = options or PullOptions(), report or SilentReport()
    plan = make_plan(workspace, ref, is_insecure=chosen.is_insecure)
    return run_plan(workspace, plan, chosen, told)


def run_plan(
    workspace: Workspace, plan: PullPlan, options: PullOptions, report: ProgressReport
) -> Pulled:
    """Fetch what a plan names and name the model; tells first what was chosen."""
    for note in plan.notes:
        report.note(note)
    store = workspace.store
    before = _before(store, plan)
    plan = _as_before(plan, before)
    transfer = DownloadOptions(
        num_streams=options.num_streams or workspace.settings.num_streams,
        limit=RateLimit(options.limit_bytes_per_s),
    )
    known = [planned.file.digest for planned in plan.files if planned.file.digest is not None]
    report.begin(plan.size_bytes, len(plan.files))
    with store.lease(known) as lease:
        check_space(
            store.layout.partial, missing_bytes(store, [planned.file for planned in plan.files])
        )
        fetched = fetch_all(store, workspace.http, plan.files, lease, transfer, report)
        for planned, blob in zip(plan.files, fetched, strict=True):
            report.advance(planned.file.name, blob.size_bytes, blob.size_bytes)
            if plan.manifest is not None:  # else that is made of checked files
                check_whole(planned.role, planned.file.name, blob.path)
        manifest = plan.manifest or _manifest(workspace, plan, fetched, lease)
        if plan.pinned not in {None, digest_of(manifest)}:
            raise IntegrityError(
                f"{plan.ref} is to be {plan.pinned} and is {digest_of(manifest)} now",
                hint="leave the digest out; localrun lock   writes a lock file anew",
            )
        stored = store.tag(_name(plan.ref), manifest, lease, plan.provenance)
    return Pulled(
        name=stored.name,
        manifest=stored.manifest,
        size_bytes=sum(blob.size_bytes for blob in fetched),
        fetched_bytes=sum(blob.fetched_bytes for blob in fetched),
        is_changed=before is None or before.ref.manifest != stored.manifest,
    )


def _before(store: Store, plan: PullPlan) -> Entry | None:
    """Return what the name means now, None also when that is damaged: a pull mends it."""
    try:
        return store.find(_name(plan.ref))
    except IntegrityError:
        return None


def _as_before(plan: PullPlan, before: Entry | None) -> PullPlan:
    """Take the digests that a hub does not tell from the same revision pulled before."""
    revision = plan.provenance.revision
    if before is None or revision is None or before.ref.revision != revision:
        return plan
    known = {(layer.role, layer.name): layer for layer in before.manifest.layers}
    return replace(plan, files=tuple(_with_digest(planned, known) for planned in plan.files))


def _with_digest(
    planned: PlannedFile, known: Mapping[tuple[Role, str | None], Descriptor]
) -> PlannedFile:
    file = planned.file
    layer = known.get((planned.role, file.name.rsplit("/", 1)[-1]))
    if file.digest is not None or layer is None or layer.size_bytes != file.size_bytes:
        return planned
    return replace(planned, file=replace(file, digest=layer.digest))


def _name(ref: ModelRef) -> ModelRef:
    """Return the name to keep a model under: a digest is what it must be, not what it is called."""
    return ref if ref.location is not None else replace(ref, digest=None)


def _manifest(
    workspace: Workspace, plan: PullPlan, fetched: list[FetchedBlob], lease: Lease
) -> bytes:
    """Make the manifest of files from a hub or an address."""
    layers = [
        layer_of(planned.role, planned.file.name, blob.path, blob.digest)
        for planned, blob in zip(plan.files, fetched, strict=True)
    ]
    return make_manifest(workspace.store, layers, lease)
