"""Pinned version of a model: exact files, from its origin or any source with the same bytes.

Lock files and repairs need files of known digests, not what a name means at its source today. The
digest of the resulting manifest is checked when the files are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, LocalrunError, ModelNotFoundError, NetworkError
from localrun.names.ref import HUBS, MODELSCOPE_HOST, ModelRef
from localrun.registry.http import OfflineError
from localrun.services.pulling.mirrors import other_hub, repository_of
from localrun.services.pulling.plan import PlannedFile, PullPlan, make_plan
from localrun.store.manifest import Role
from localrun.store.store import Provenance

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from localrun.store.manifest import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """File of a pinned version."""

    name: str  # without folders
    role: Role
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Pinned version; without files it is what its origin has at the revision."""

    name: ModelRef  # its name in the store
    origin: ModelRef
    revision: str | None
    manifest: str  # digest
    files: tuple[PinnedFile, ...] = ()
    choice: str | None = None


def pinned_file(layer: Descriptor) -> PinnedFile:
    """Return a manifest's layer as a pinned file."""
    return PinnedFile(
        name=layer.name or layer.digest,
        role=layer.role,
        digest=layer.digest,
        size_bytes=layer.size_bytes,
    )


def plan_of_pin(workspace: Workspace, pin: Pin, *, is_insecure: bool = False) -> PullPlan:
    """Return the plan that pulls exactly this version.

    Raises:
        IntegrityError: the origin no longer has the files.
        NetworkError: no source that may have the files answers.
    """
    plan = _at_origin(workspace, pin, is_insecure=is_insecure)
    provenance = Provenance(origin=str(pin.origin), choice=pin.choice, revision=pin.revision)
    files = plan.files
    if plan.manifest is None and pin.files:
        available = _AvailableFiles(plan.files)
        files = tuple(_planned(pin, file, available.find(file)) for file in pin.files)
    return replace(
        plan, ref=pin.name, files=files, pinned=pin.manifest, provenance=provenance, notes=()
    )


def _at_origin(workspace: Workspace, pin: Pin, *, is_insecure: bool) -> PullPlan:
    if pin.origin.host is None:
        return make_plan(workspace, pin.origin)
    if pin.origin.host not in HUBS:
        at_digest = replace(pin.origin, digest=pin.manifest)
        return make_plan(workspace, at_digest, is_insecure=is_insecure)
    try:
        at_commit = replace(pin.origin, revision=pin.revision or pin.origin.revision)
        return make_plan(workspace, at_commit)
    except OfflineError:
        raise
    except (NetworkError, ModelNotFoundError) as error:
        return _at_other_hub(workspace, pin, error)


def _at_other_hub(workspace: Workspace, pin: Pin, problem: LocalrunError) -> PullPlan:
    """Plan the files of the other hub's repository, which only their digests verify."""
    host = other_hub(pin.origin.host)
    namespace, _, model = _repo_at(workspace, host, pin.origin.repo).partition("/")
    try:
        repository = repository_of(workspace, ModelRef(host=host, namespace=namespace, model=model))
    except (NetworkError, ModelNotFoundError):
        raise problem from None
    names = {file.name for file in pin.files}
    files = tuple(
        PlannedFile(file=file, role=Role.WEIGHTS)
        for file in repository.files
        if file.name.rsplit("/", 1)[-1] in names
    )
    if not {file.digest for file in pin.files} <= {planned.file.digest for planned in files}:
        raise problem
    return PullPlan(ref=pin.name, files=files, provenance=Provenance())


def _repo_at(workspace: Workspace, host: str, repo: str) -> str:
    """Return a repository's name at the other hub: the catalog's, else the same."""
    for entry in workspace.catalog.entries():
        if host == MODELSCOPE_HOST and entry.huggingface == repo:
            return entry.modelscope or repo
        if host != MODELSCOPE_HOST and entry.modelscope == repo:
            return entry.huggingface
    return repo


class _AvailableFiles:
    """Files of a source by digest, or by name if the source reports no digest."""

    def __init__(self, files: tuple[PlannedFile, ...]) -> None:
        self._by_digest: dict[str, PlannedFile] = {}
        self._by_name: dict[str, PlannedFile] = {}
        for planned in files:
            name, digest = planned.file.name.rsplit("/", 1)[-1], planned.file.digest
            if digest is None:
                self._by_name.setdefault(name, planned)
            else:
                self._by_digest.setdefault(digest, planned)

    def find(self, wanted: PinnedFile) -> PlannedFile | None:
        return self._by_digest.get(wanted.digest) or self._by_name.get(wanted.name)


def _planned(pin: Pin, wanted: PinnedFile, available: PlannedFile | None) -> PlannedFile:
    """Return a file of the pinned version as its source has it."""
    if available is None:
        raise IntegrityError(
            f"{pin.origin} no longer has the files of {pin.name}: {wanted.name} has changed",
            hint=f"localrun pull {pin.name}   pulls the current version",
        )
    as_pinned = replace(
        available.file, name=wanted.name, digest=wanted.digest, size_bytes=wanted.size_bytes
    )
    return replace(available, file=as_pinned, role=wanted.role)
