"""Outdated models: those with another version at their origin."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.services.pulling.plan import plan_of_origin
from localrun.services.translating.manifests import published_model
from localrun.store.blobs import digest_of
from localrun.waiting import results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.registry.remote import RemoteFile
    from localrun.services.pulling.plan import PullPlan
    from localrun.services.translating.manifests import PublishedModel
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry

PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Comparison of one pulled model with its origin."""

    name: str
    origin: str
    is_outdated: bool
    problem: str | None = None  # why the comparison failed
    is_untold: bool = False  # its origin has nothing that identifies a version


def find_outdated(workspace: Workspace) -> list[Freshness]:
    """Compare every pulled model with its origin; blocks.

    Raises:
        OfflineError: the network is disabled.
    """
    entries = [entry for entry in workspace.store.entries() if entry.ref.origin and entry.is_own]
    with ThreadPoolExecutor(PARALLEL) as threads:
        return results([threads.submit(_freshness, workspace, entry) for entry in entries])


def plan_of_newest(workspace: Workspace, name: str) -> PullPlan:
    """Return the plan that updates a name to its origin's current version.

    Raises:
        ModelNotFoundError: the name or its origin no longer exists.
        NetworkError: the origin does not answer.
    """
    ref = parse_name(name)
    entry = workspace.store.find(ref)
    if entry is None or entry.ref.origin is None:
        raise ModelNotFoundError(f"{name} was not pulled from anywhere", hint="localrun list")
    return replace(plan_of_origin(workspace, entry.ref), ref=ref)


def _freshness(workspace: Workspace, entry: Entry) -> Freshness:
    origin = str(entry.ref.origin)
    known = Freshness(name=entry.ref.name, origin=origin, is_outdated=False)
    try:
        plan = plan_of_origin(workspace, entry.ref)
    except OfflineError:
        raise
    except LocalrunError as error:
        return replace(known, problem=error.message)
    if plan.manifest is not None:
        digests = {entry.ref.manifest, published_model(entry).manifest}
        return replace(known, is_outdated=digest_of(plan.manifest) not in digests)
    files = [planned.file for planned in plan.files]
    if all(file.digest is None for file in files):
        return _by_revision(known, plan.provenance.revision, entry.ref.revision)
    return replace(known, is_outdated=not _has_all(published_model(entry), files))


def _by_revision(known: Freshness, now: str | None, then: str | None) -> Freshness:
    """Compare the origin's revision of a file with the revision of the stored one."""
    if now is None or then is None:
        return replace(known, is_untold=True)
    return replace(known, is_outdated=now != then)


def _has_all(model: PublishedModel, files: Iterable[RemoteFile]) -> bool:
    """Return whether a model has the files, by digest, or by name and size without a digest."""
    digests = {layer.digest for layer in model.layers}
    named = {(layer.name, layer.size_bytes) for layer in model.layers}
    return all(
        (file.name.rsplit("/", 1)[-1], file.size_bytes) in named
        if file.digest is None
        else file.digest in digests
        for file in files
    )
