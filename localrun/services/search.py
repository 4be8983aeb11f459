"""Look for GGUF models on the hubs, and tell which of them fit this machine."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError
from localrun.names.parse import parse_name
from localrun.registry.http import OfflineError
from localrun.registry.quantization import choose
from localrun.registry.remote import Repository
from localrun.services.pulling.mirrors import repository_of

if TYPE_CHECKING:
    from localrun.registry.remote import SearchResult
    from localrun.services.workspace import Workspace

PARALLEL = 8
MEMORY_SHARE = 0.8  # of the machine's; the rest is the context's and other programs'
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A repository that was found; what the hub does not tell is None."""

    name: str  # what to pull
    downloads: int
    likes: int
    quantization: str | None  # that a pull without a tag takes
    size_bytes: int | None  # of that one
    fits: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What was found, and which hubs did not answer."""

    hits: tuple[Hit, ...]
    problems: tuple[str, ...] = ()


def search_models(workspace: Workspace, text: str, limit: int, memory_bytes: int) -> Hits:
    """Return repositories of both hubs, most downloaded first, each name once; blocks.

    Raises:
        OfflineError: there is to be no network.
        NetworkError: no hub answers.
    """
    hubs = (workspace.huggingface.search, workspace.modelscope.search)
    found: list[SearchResult] = []
    problems: list[str] = []
    with ThreadPoolExecutor(len(hubs)) as threads:
        for future in [threads.submit(search, text, limit) for search in hubs]:
            try:
                found += future.result()
            except OfflineError:
                raise
            except LocalrunError as error:
                problems.append(error.message)
    if len(problems) == len(hubs):
        raise NetworkError("; ".join(problems), hint="check the network")
    ordered = sorted(found, key=lambda one: -one.downloads)[:limit]
    with ThreadPoolExecutor(PARALLEL) as threads:
        hits = threads.map(lambda one: _hit(workspace, one, memory_bytes), ordered)
        return Hits(hits=tuple(hits), problems=tuple(problems))


def _hit(workspace: Workspace, found: SearchResult, memory_bytes: int) -> Hit:
    quantization, size = _default(workspace, found)
    return Hit(
        name=found.name,
        downloads=found.downloads,
        likes=found.likes,
        quantization=quantization,
        size_bytes=size,
        fits=None if size is None else size <= memory_bytes * MEMORY_SHARE,
    )


def _default(workspace: Workspace, found: SearchResult) -> tuple[str | None, int | None]:
    """Return what a pull without a tag would take, and its size; asks for it where none is told.

    A repository that does not say, as one that is gated, keeps what its listing tells.
    """
    listed = Repository(name=found.name, revision=None, files=found.files)
    try:
        listed = repository_of(workspace, parse_name(found.name))
    except LocalrunError as error:
        _log.debug("%s: %s", found.name, error.message)
    try:
        variant = choose(listed, None).variant
    except LocalrunError:
        return None, None
    return variant.quantization, variant.size_bytes or None
