"""Look for GGUF models on the hubs, and tell which of them fit this machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError
from localrun.registry.http import OfflineError
from localrun.registry.quantization import choose
from localrun.registry.remote import Repository

if TYPE_CHECKING:
    from localrun.registry.remote import Found, RemoteFile
    from localrun.services.workspace import Workspace

MEMORY_SHARE = 0.8  # of the machine's; the rest is the context's and other programs'


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
    found: list[Found] = []
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
    return Hits(hits=tuple(_hit(one, memory_bytes) for one in ordered), problems=tuple(problems))


def _hit(found: Found, memory_bytes: int) -> Hit:
    quantization, size = _default(found.name, found.files)
    return Hit(
        name=found.name,
        downloads=found.downloads,
        likes=found.likes,
        quantization=quantization,
        size_bytes=size,
        fits=None if size is None else size <= memory_bytes * MEMORY_SHARE,
    )


def _default(name: str, files: tuple[RemoteFile, ...]) -> tuple[str | None, int | None]:
    """Return what a pull without a tag would take, as far as the listing tells."""
    try:
        repository = Repository(name=name, revision=None, files=files)
        variant = choose(repository, None).variant
    except LocalrunError:
        return None, None
    return variant.quantization, variant.size_bytes or None
