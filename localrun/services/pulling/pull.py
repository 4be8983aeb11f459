"""Pull of a model: plan it, fetch its missing files, store its manifest, name it.

Nothing under the model's name changes before the last step, so a failed pull leaves the old model
intact; the fetched bytes stay for the next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.header import read_header
from localrun.hardware.architectures import unknown_architecture
from localrun.registry.transfer.disk import check_space
from localrun.registry.transfer.options import DownloadOptions, RateLimit
from localrun.services.creating.manifests import check_whole
from localrun.services.progress import SilentReport
from localrun.services.pulling.fetch import fetch_all, missing_bytes
from localrun.services.pulling.plan import PlannedFile, PullPlan, make_plan
from localrun.services.pulling.translated import PulledFiles
from localrun.services.translating.blobs import Translator
from localrun.services.translating.manifests import published_model
from localrun.services.translating.notes import other_file_hint
from localrun.store.blobs import digest_of
from localrun.store.manifest import Role, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.names.ref import ModelRef
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.manifest import Descriptor
    from localrun.store.store import Entry, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """Options of a pull."""

    limit_bytes_per_s: float | None = None
    num_streams: int | None = None  # None: as in the settings
    is_insecure: bool = False  # plain http to an OCI registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Result of a pull."""

    name: str
    manifest: str  # digest
    size_bytes: int
    fetched_bytes: int  # 0: everything was in the store
    is_changed: bool  # the name has another manifest than before, or is new


def pull_model(
    workspace: Workspace,
    ref: ModelRef,
    options: PullOptions | None = None,
    report: ProgressReport | None = None,
) -> Pulled:
    """Pull a model, or do nothing if it is complete; blocks.

    Raises:
        ModelNotFoundError: the source does not have the model.
        NetworkError: no source answers; the same command resumes later.
        IntegrityError: the bytes do not match their digest; nothing is named.
        StorageError: the disk is full or cannot be written.
    """
    options, report = options or PullOptions(), report or SilentReport()
    plan = make_plan(workspace, ref, is_insecure=options.is_insecure)
    return run_plan(workspace, plan, options, report)


def run_plan(
    workspace: Workspace, plan: PullPlan, options: PullOptions, report: ProgressReport
) -> Pulled:
    """Report the plan's notes, fetch its files and name the model."""
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
        translator = Translator(workspace=workspace, ref=plan.ref, lease=lease, report=report)
        files = PulledFiles(plan, translator)
        check_space(store.layout.partial, missing_bytes(store, [m.file for m in files.missing]))
        fetched = fetch_all(store, workspace.http, files.missing, lease, transfer, report)
        for planned, blob in zip(files.missing, fetched, strict=True):
            report.advance(planned.file.name, blob.size_bytes, blob.size_bytes)
            if plan.manifest is not None:  # otherwise making the manifest checks the files
                check_whole(planned.role, planned.file.name, blob.path)
        published = plan.manifest or files.make_manifest(fetched)
        if plan.pinned not in {None, digest_of(published)}:
            raise IntegrityError(
                f"digest mismatch: {plan.ref} has {digest_of(published)}, not {plan.pinned}",
                hint="pull without the digest; localrun lock   writes a new lock file",
            )
        manifest = files.translate(published, fetched)
        _note_unknown(workspace, plan, manifest, report)
        stored = store.tag(_name(plan.ref), manifest, lease, plan.provenance)
    files.collect_published()
    return Pulled(
        name=stored.name,
        manifest=stored.manifest,
        size_bytes=sum(blob.size_bytes for blob in fetched) + files.known_bytes,
        fetched_bytes=sum(blob.fetched_bytes for blob in fetched),
        is_changed=before is None or before.ref.manifest != stored.manifest,
    )


def _note_unknown(
    workspace: Workspace, plan: PullPlan, manifest: bytes, report: ProgressReport
) -> None:
    """Report weights that llama.cpp does not load."""
    for layer in parse_manifest(manifest).with_role(Role.WEIGHTS)[:1]:
        header = read_header(workspace.store.blobs.path(layer.digest))
        unknown = unknown_architecture(header.architecture)
        if unknown is not None:
            hint = other_file_hint(workspace, plan.ref)
            report.note(f"{plan.ref} cannot be loaded: {unknown}; {hint}")


def _before(store: Store, plan: PullPlan) -> Entry | None:
    """Return the current entry of the name; None if it is damaged, because a pull repairs it."""
    try:
        return store.find(_name(plan.ref))
    except IntegrityError:
        return None


def _as_before(plan: PullPlan, before: Entry | None) -> PullPlan:
    """Fill in digests that a hub does not report from an earlier pull of the same revision."""
    revision = plan.provenance.revision
    if before is None or revision is None or before.ref.revision != revision:
        return plan
    layers = published_model(before).layers
    known = {(layer.role, layer.name): layer for layer in layers}
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
    """Return the name for the store: a digest is what the model must have, not its name."""
    return ref if ref.location is not None else replace(ref, digest=None)
