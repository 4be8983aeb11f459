"""Verification and repair of models: hash their blobs, and download only the bad ones again.

Blobs that no model names are checked too, because the next `create` or `import` of the same bytes
would use them. A quick check compares sizes with manifests, and GGUF files that no manifest names
with their headers.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, LocalrunError, ModelNotFoundError
from localrun.names.parse import parse_name
from localrun.services.blob_checks import bad_hashes, bad_sizes, unnamed_sizes
from localrun.services.pulling.pinned import Pin, pinned_file, plan_of_pin
from localrun.services.pulling.pull import PullOptions, run_plan
from localrun.services.translating.manifests import PublishedModel, published_model
from localrun.store.refs import StoredRef, list_refs, load_ref, ref_files
from localrun.store.store import Entry
from localrun.store.verify import BadBlob, bring_back, quarantine, verify
from localrun.supervisor.projector_failures import ProjectorFailures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localrun.services.progress import ProgressReport
    from localrun.services.pulling.plan import PullPlan
    from localrun.services.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of the check of one model."""

    name: str
    bad: tuple[BadBlob, ...] = ()
    is_repaired: bool = False
    problem: str | None = None  # why it was not repaired, or what is wrong with the name

    @property
    def is_good(self) -> bool:
        """Return whether the model is whole now."""
        return self.problem is None and (self.is_repaired or not self.bad)


def verify_models(
    workspace: Workspace,
    names: Sequence[str],
    report: ProgressReport,
    *,
    is_repair: bool,
    is_quick: bool = False,
) -> list[Verdict]:
    """Check models, or everything without names; ``is_repair`` downloads bad files again.

    Blocks. With ``is_quick`` sizes are compared, and only small files are hashed. Projectors that
    ended a runner may be tried again afterwards.

    Raises:
        ModelNotFoundError: a named model is not in the store.
    """
    refs = _chosen(workspace, names)
    sizes = {ref.name: _sizes(workspace, ref) for ref in refs}
    named = {digest: size for model in sizes.values() for digest, size in model.items()}
    unnamed = {} if names else unnamed_sizes(workspace, named)
    check = bad_sizes if is_quick else bad_hashes
    bad = check(workspace, named, unnamed, report)
    verdicts = [
        Verdict(
            name=ref.name, bad=tuple(bad[digest] for digest in sizes[ref.name] if digest in bad)
        )
        for ref in refs
    ]
    if not names:
        verdicts += [Verdict(name=path, problem=why) for path, why in _damaged_names(workspace)]
    _forget_projector_failures(workspace, None if not names else sizes.values())
    surplus = [bad[digest] for digest in unnamed if digest in bad]
    if is_repair:
        known = {ref.name: ref for ref in refs}
        with _set_aside(workspace, [digest for digest in bad if digest in named]):
            verdicts = [
                _repair(workspace, known[verdict.name], verdict, report) if verdict.bad else verdict
                for verdict in verdicts
            ]
    return verdicts + [_verdict_of_unnamed(workspace, blob, is_repair) for blob in surplus]


def _forget_projector_failures(
    workspace: Workspace, models: Iterable[dict[str, int]] | None
) -> None:
    """Let the projectors of models be tried again; None: all projectors."""
    if models is None:
        ProjectorFailures().forget()
        return
    files = [workspace.store.blobs.find(digest) for sizes in models for digest in sizes]
    ProjectorFailures().forget([file for file in files if file is not None])


def _verdict_of_unnamed(workspace: Workspace, blob: BadBlob, is_repair: bool) -> Verdict:  # noqa: FBT001 - private
    """Return the verdict of a bad file that no model names; a repair deletes it."""
    is_gone = is_repair and quarantine(workspace.store, blob.digest)
    name = str(workspace.store.layout.blob(blob.digest))
    return Verdict(name=name, bad=(blob,), is_repaired=is_gone)


@contextlib.contextmanager
def _set_aside(workspace: Workspace, digests: Iterable[str]) -> Iterator[None]:
    """Move bad blobs away while the block runs; restore those that were not replaced."""
    store = workspace.store
    with store.lease() as lease:
        moved = {digest: lease.temporary() for digest in digests}
        for digest, aside in moved.items():
            quarantine(store, digest, aside)
        try:
            yield
        finally:
            for digest, aside in moved.items():
                bring_back(store, digest, aside)


def _chosen(workspace: Workspace, names: Sequence[str]) -> list[StoredRef]:
    refs = {parse_name(ref.name).key: ref for ref in list_refs(workspace.store.layout)}
    if not names:
        return list(refs.values())
    chosen = []
    for name in names:
        ref = refs.get(parse_name(name).key)
        if ref is None:
            workspace.models.find_model(name)
            raise ModelNotFoundError(
                f"{name} is not in the store, and verify checks only the store",
                hint="localrun verify   checks all models of the store",
            )
        chosen.append(ref)
    return chosen


def _damaged_names(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the reference files that cannot be read, with the reason."""
    damaged = []
    for path in ref_files(workspace.store.layout):
        try:
            with contextlib.suppress(FileNotFoundError):
                load_ref(workspace.store.layout, path)
        except (IntegrityError, OSError) as error:
            damaged.append((str(path), f"damaged: {error}"))
    return damaged


def _sizes(workspace: Workspace, ref: StoredRef) -> dict[str, int]:
    """Return the sizes of all blobs of a model by digest; a damaged manifest names none."""
    path = workspace.store.blobs.find(ref.manifest)
    own = {ref.manifest: path.stat().st_size if path is not None else 0}
    try:
        manifest = workspace.store.manifest(ref.manifest)
    except IntegrityError:
        return own
    return own | {blob.digest: blob.size_bytes for blob in manifest.blobs}


def _repair(
    workspace: Workspace, ref: StoredRef, verdict: Verdict, report: ProgressReport
) -> Verdict:
    """Download a model's bad files again, from its origin or that of another model with them."""
    problem = None
    for source in _sources(workspace, ref, verdict):
        if _is_whole(workspace, ref, verdict):
            break  # repaired by an earlier source or model
        try:
            _fetch_again(workspace, source, report)
        except LocalrunError as error:
            problem = problem or error.message
    if _is_whole(workspace, ref, verdict):
        return replace(verdict, is_repaired=True)
    if problem is None:
        problem = "it was created or imported on this machine; create or import it again"
    return replace(verdict, problem=problem)


def _is_whole(workspace: Workspace, ref: StoredRef, verdict: Verdict) -> bool:
    """Return whether the bad blobs are good now; the other blobs were checked before."""
    bad = {blob.digest for blob in verdict.bad}
    sizes = _sizes(workspace, ref).items()
    return not verify(workspace.store, {digest: size for digest, size in sizes if digest in bad})


def _sources(workspace: Workspace, ref: StoredRef, verdict: Verdict) -> list[StoredRef]:
    """Return the pulled models that have a bad file, the model itself first."""
    bad = {blob.digest for blob in verdict.bad}
    others = [
        other
        for other in list_refs(workspace.store.layout)
        if other.name != ref.name and bad & _sizes(workspace, other).keys()
    ]
    return [source for source in (ref, *others) if source.origin is not None]


def _fetch_again(workspace: Workspace, ref: StoredRef, report: ProgressReport) -> None:
    pin = _pin(workspace, ref)
    plan = plan_of_pin(workspace, pin)
    if not pin.files:  # the damaged manifest names no files
        _quarantine(workspace, plan)
    run_plan(workspace, plan, PullOptions(), report)


def _quarantine(workspace: Workspace, plan: PullPlan) -> None:
    for planned in plan.files:
        if planned.file.digest is not None:
            quarantine(workspace.store, planned.file.digest)


def _pin(workspace: Workspace, ref: StoredRef) -> Pin:
    """Return the pinned version of a name; its files only if the manifest can be read."""
    try:
        manifest = workspace.store.manifest(ref.manifest)
        model = published_model(Entry(ref=ref, manifest=manifest, is_own=True))
    except IntegrityError:
        model = PublishedModel(manifest=ref.manifest, layers=())
    return Pin(
        name=ref.parsed,
        origin=parse_name(str(ref.origin)),
        revision=ref.revision,
        manifest=model.manifest,
        files=tuple(pinned_file(layer) for layer in model.layers),
        choice=ref.choice,
    )
