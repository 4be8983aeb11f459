"""Draft models of the catalog: which small model drafts for another, and whether it is here.

A model belongs to a size of a family by its name, by the repository that it was pulled from, or by
those of the model that it was created from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import ModelNotFoundError
from localrun.names.adapters import split_adapters
from localrun.names.parse import parse_name
from localrun.names.ref import HUGGINGFACE_HOST, OLLAMA_HOST, ModelSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.registry.catalog import Catalog, CatalogEntry
    from localrun.services.stored_model import StoredModel

MIN_RATIO = 3  # of the model's file to the draft model's: else drafting takes what it saves
MIN_BYTES = 32 * 1024 * 1024  # of the model's file; reading the catalog takes 15 ms
MAX_BASES = 8
OLLAMA_LIBRARY = "library"


class KnownDrafts:
    """The draft models of the catalog."""

    def __init__(
        self, find_model: Callable[[str], StoredModel], open_catalog: Callable[[], Catalog]
    ) -> None:
        self._find_model = find_model
        self._open_catalog = open_catalog

    def entry_for(self, name: str, origin: str | None, size_bytes: int) -> CatalogEntry | None:
        """Return the draft model of a model, None if there is none that is much smaller."""
        if size_bytes < MIN_BYTES:
            return None
        catalog = self._open_catalog()
        for each in self._lineage(name, origin):
            entry = _entry_of(catalog, each)
            draft = None if entry is None else catalog.draft_of(entry)
            if draft is not None:
                return draft if draft.size_bytes * MIN_RATIO <= size_bytes else None
        return None

    def stored_name(self, entry: CatalogEntry) -> str | None:
        """Return the name of an entry's stored model: its own, or that of its repository.

        Raises:
            IntegrityError: the store is damaged.
        """
        own = f"{entry.name}:{entry.tag}"
        for name in (own, f"{HUGGINGFACE_HOST}/{entry.huggingface}:{entry.quantization}"):
            try:
                return self._find_model(name).name
            except ModelNotFoundError:
                continue
        return None

    def _lineage(self, name: str, origin: str | None) -> Iterator[str]:
        """Yield the name of a model, its origin, the origin of that, and so on."""
        yield split_adapters(name)[0]
        for _ in range(MAX_BASES):
            if not origin:
                return
            yield origin
            try:
                origin = self._find_model(origin).origin
            except ModelNotFoundError:
                return


def _entry_of(catalog: Catalog, name: str) -> CatalogEntry | None:
    """Return the entry that a name means, also with a quantization behind the tag."""
    ref = parse_name(name)
    if ref.source is ModelSource.FILE:
        return None
    if ref.host is None or (ref.host == OLLAMA_HOST and ref.namespace == OLLAMA_LIBRARY):
        known = catalog.find(ref.model, ref.tag)
        return known or catalog.find(ref.model, ref.tag.partition("-")[0])
    return catalog.find_repository(ref.repo)
