"""Search for GGUF models on the hubs, and whether they fit this machine."""

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
from localrun.waiting import result, results

if TYPE_CHECKING:
    from localrun.registry.remote import SearchResult
    from localrun.services.workspace import Workspace

PARALLEL = 8
MEMORY_SHARE = 0.8  # of the machine's memory; the rest is for the context and other programs
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Repository that matches a search; None for what the hub does not report."""

    name: str  # the name to pull
    downloads: int
    likes: int
    quantization: str | None  # of a pull without a tag
    size_bytes: int | None  # of that quantization
    fits: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Matching repositories, and the errors of hubs that did not answer."""

    hits: tuple[Hit, ...]
    problems: tuple[str, ...] = ()


def search_models(workspace: Workspace, text: str, limit: int, memory_bytes: int) -> Hits:
    """Return repositories of both hubs, most downloads first, each name once; blocks.

    Raises:
        OfflineError: the network is disabled.
        NetworkError: no hub answers.
    """
    hubs = (workspace.huggingface.search, workspace.modelscope.search)
    found: list[SearchResult] = []
    problems: list[str] = []
    with ThreadPoolExecutor(len(hubs)) as threads:
        for future in [threads.submit(search, text, limit) for search in hubs]:
            try:
                answer = result(future)
                found += answer
            except OfflineError:
                raise
            except LocalrunError as error:
                problems.append(error.message)
    if len(problems) == len(hubs):
        raise NetworkError("; ".join(problems), hint="check the network")
    ordered = sorted(found, key=lambda each: -each.downloads)[:limit]
    with ThreadPoolExecutor(PARALLEL) as threads:
        hits = [threads.submit(_hit, workspace, each, memory_bytes) for each in ordered]
        return Hits(hits=tuple(results(hits)), problems=tuple(problems))


def _hit(workspace: Workspace, result: SearchResult, memory_bytes: int) -> Hit:
    quantization, size = _default(workspace, result)
    return Hit(
        name=result.name,
        downloads=result.downloads,
        likes=result.likes,
        quantization=quantization,
        size_bytes=size,
        fits=None if size is None else size <= memory_bytes * MEMORY_SHARE,
    )


def _default(workspace: Workspace, result: SearchResult) -> tuple[str | None, int | None]:
    """Return quantization and size of a pull without a tag.

    Asks the hub for sizes. A repository that does not answer, such as a gated one, keeps what the
    search reported.
    """
    listed = Repository(name=result.name, revision=None, files=result.files)
    try:
        listed = repository_of(workspace, parse_name(result.name))
    except LocalrunError as error:
        _log.debug("%s: %s", result.name, error.message)
    try:
        variant = choose(listed, None).variant
    except LocalrunError:
        return None, None
    return variant.quantization, variant.size_bytes or None
