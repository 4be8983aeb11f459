"""Which models have another version where they came from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.services.plan import make_plan
from localrun.store.blobs import digest_of

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry

PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What is known of one pulled model."""

    name: str
    origin: str
    is_outdated: bool
    problem: str | None = None  # why it could not be told


def find_outdated(workspace: Workspace) -> list[Freshness]:
    """Ask the origin of every pulled model; blocks.

    Raises:
        OfflineError: there is to be no network.
    """
    entries = [entry for entry in workspace.store.entries() if entry.ref.origin and entry.is_own]
    with ThreadPoolExecutor(PARALLEL) as threads:
        return list(threads.map(lambda entry: _freshness(workspace, entry), entries))


def _freshness(workspace: Workspace, entry: Entry) -> Freshness:
    origin = str(entry.ref.origin)
    known = Freshness(name=entry.ref.name, origin=origin, is_outdated=False)
    try:
        plan = make_plan(workspace, parse_name(origin))
    except OfflineError:
        raise
    except LocalrunError as error:
        return replace(known, problem=error.message)
    if plan.manifest is not None:
        return replace(known, is_outdated=digest_of(plan.manifest) != entry.ref.manifest)
    wanted = {planned.file.digest for planned in plan.files if planned.file.digest is not None}
    if not wanted:
        return replace(known, problem="the address tells no digest")
    has = {layer.digest for layer in entry.manifest.layers}
    return replace(known, is_outdated=not wanted <= has)
