"""List of all models of a store: what changed since the last list is read, the rest is compared.

In the index, a line for each reference; the key has the hash of its store and its path there:

    ref:<hash>/<host>/<namespace>/<model>/<tag>
        {"stamp": [...], "name": "qwen3:0.6b", "manifest": "<hex>", "size": 522653767,
         "updated": "2026-11-21T07:00:00+00:00", "details": [...],
         "blobs": [["<hex>", [...]], ["<hex>", null]], "remote": null}

A line holds while the reference and each file that it was read from have their stamps; the other
blobs of the manifest have none. A model that is damaged has no line, so that every list reads it
and reports it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from localrun.errors import IntegrityError, StorageError
from localrun.remote.model import RemoteModel
from localrun.services.index.checks import hex_digest, number, stamp, text
from localrun.services.index.headers import details_from_json, details_to_json, is_kept
from localrun.services.index.summaries import summary_of
from localrun.services.recipes import TEXT_ROLES
from localrun.services.stored_model import ModelSummary
from localrun.store.layout import hex_of
from localrun.store.manifest import Role
from localrun.store.refs import load_ref, stamped_refs
from localrun.store.stamp import is_settled, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localrun.services.stored_model import StoredModel
    from localrun.store.index import StoreIndex
    from localrun.store.layout import Layout
    from localrun.store.refs import StampedRef
    from localrun.store.stamp import Stamp
    from localrun.store.store import Entry, Store

READ_ROLES = {Role.WEIGHTS, Role.PROJECTOR, Role.ADAPTER, Role.DRAFT, Role.REMOTE, *TEXT_ROLES}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """Summary of a model in a store, and the stamps of the files that it was read from."""

    summary: ModelSummary
    updated: str  # as the reference has it
    ref: Stamp
    blobs: tuple[tuple[str, Stamp | None], ...]  # hex digest; no stamp for one that was not read


class _KnownRef(NamedTuple):
    """Reference of a store, and its model if it is known and the reference did not change."""

    layout: Layout
    ref: StampedRef
    model: ListedModel | None


class ModelList:
    """The models of a store and of those behind it. Safe to use from many threads.

    ``describe`` reads the model of an entry.
    """

    def __init__(
        self, store: Store, index: StoreIndex, describe: Callable[[Entry], StoredModel]
    ) -> None:
        self._store = store
        self._index = index
        self._describe = describe
        self._lock = threading.Lock()  # guards _lines, and keeps two threads from the same work
        self._lines: dict[str, ListedModel] = {}  # by the key in the index

    def models(self) -> list[ListedModel]:
        """Return the models; a damaged one is left out with a warning, ours hide others.

        The summary of a model that did not change is the same object as before.

        Raises:
            StorageError: a folder cannot be read.
        """
        with self._lock:
            listing = _Listing(self._store.layouts)
            for layout in self._store.layouts:
                prefix = _prefix(layout)
                for ref in stamped_refs(layout):
                    if ref.key not in listing.models:
                        self._add(ref, layout, prefix + ref.key, listing)
            if listing.num_read or not self._lines.keys() <= listing.lines.keys():
                self._index.keep(
                    functools.partial(_is_needed, listing.lines, listing.digests, self._index)
                )
            self._lines = listing.lines
            return [model for model in listing.models.values() if model is not None]

    def blobs_of_others(self, name: str) -> set[str]:
        """Return the hex digests of the blobs of all models but one; reads no file of a model.

        Raises:
            StorageError: a folder cannot be read.
        """
        digests: set[str] = set()
        for layout, ref, known in self._refs():
            entry = None if known else self._entry(layout, ref)
            if known is not None and known.summary.name != name:
                digests.update(digest for digest, _ in known.blobs)
            elif entry is not None and entry.ref.name != name:
                digests.update(hex_of(blob.digest) for blob in entry.manifest.blobs)
        return digests

    def names(self) -> set[str]:
        """Return the names of all models, also of damaged ones; reads no file of a model.

        Raises:
            StorageError: a folder cannot be read.
        """
        names: set[str] = set()
        for layout, ref, known in self._refs():
            with contextlib.suppress(IntegrityError, OSError):
                names.add(known.summary.name if known else load_ref(layout, Path(ref.path)).name)
        return names

    def _refs(self) -> Iterator[_KnownRef]:
        """Yield the references of all stores."""
        for layout in self._store.layouts:
            prefix = _prefix(layout)
            for ref in stamped_refs(layout):
                yield _KnownRef(layout, ref, self._known(prefix + ref.key, ref))

    def _known(self, key: str, ref: StampedRef) -> ListedModel | None:
        """Return the model of a reference as it was read, or None if the reference changed."""
        model = self._lines.get(key) or _from_json(self._index.get(key))
        return model if model is not None and model.ref == ref.stamp else None

    def _add(self, ref: StampedRef, layout: Layout, key: str, listing: _Listing) -> None:
        """Add the model of a reference to a listing; ``key`` is that of its line."""
        model = self._known(key, ref)
        if model is not None and listing.holds(model):
            listing.models[ref.key] = listing.lines[key] = model
            return
        entry = self._entry(layout, ref)
        if entry is None:
            return  # damaged: a store behind may have the name
        listing.num_read += 1
        name_key = str(layout.ref(entry.ref.parsed.key).relative_to(layout.refs))
        if name_key in listing.models:
            return
        model = listing.models[name_key] = self._read(entry, ref, listing)
        if model is not None and name_key == ref.key and _is_settled(model):
            listing.lines[key] = model
            self._index.put(key, _to_json(model))

    def _entry(self, layout: Layout, ref: StampedRef) -> Entry | None:
        """Return the entry of a reference, or None with a warning if it is damaged."""
        try:
            return self._store.read_entry(layout, Path(ref.path))
        except (IntegrityError, StorageError, OSError) as error:
            _log.warning("left out: %s: %s", ref.path, error)
            return None

    def _read(self, entry: Entry, ref: StampedRef, listing: _Listing) -> ListedModel | None:
        """Return the model of an entry, or None with a warning if a file of it is damaged."""
        digests = {layer.digest for layer in entry.manifest.layers if layer.role in READ_ROLES}
        read = {hex_of(digest) for digest in (*digests, entry.ref.manifest)}
        everything = [hex_of(blob.digest) for blob in entry.manifest.blobs]
        stamps = {digest: listing.stamp(digest) for digest in read}  # before they are read
        try:
            model = self._describe(entry)
        except (IntegrityError, OSError) as error:
            _log.warning("%s is left out: %s", entry.ref.name, error)
            return None
        blobs = dict.fromkeys((hex_of(entry.ref.manifest), *everything))
        return ListedModel(
            summary=summary_of(model),
            updated=entry.ref.updated,
            ref=ref.stamp,
            blobs=tuple((digest, stamps.get(digest)) for digest in blobs),
        )


class _Listing:
    """One pass over the references of the stores."""

    def __init__(self, layouts: Iterable[Layout]) -> None:
        self.models: dict[str, ListedModel | None] = {}  # None: damaged, and left out
        self.lines: dict[str, ListedModel] = {}
        self.num_read = 0
        self._folders = [f"{layout.blobs}{os.sep}" for layout in layouts]
        self._stamps: dict[str, Stamp | None] = {}  # each blob is looked up once

    def holds(self, model: ListedModel) -> bool:
        """Return whether the files of a model are as they were read."""
        return all(known is None or self.stamp(digest) == known for digest, known in model.blobs)

    @property
    def digests(self) -> set[str]:
        """Return the hex digests of all blobs of all models."""
        models = [model for model in self.models.values() if model is not None]
        return {digest for model in models for digest, _ in model.blobs}

    def stamp(self, digest: str) -> Stamp | None:
        """Return the stamp of a blob in the first store that has it, or None."""
        if digest not in self._stamps:
            self._stamps[digest] = self._look_up(digest)
        return self._stamps[digest]

    def _look_up(self, digest: str) -> Stamp | None:
        for folder in self._folders:
            try:
                return stamp_of(folder + digest)
            except FileNotFoundError:
                continue
            except OSError:
                return None
        return None


def _prefix(layout: Layout) -> str:
    """Return how the keys of a store's references begin."""
    return f"ref:{hashlib.sha256(os.fsencode(layout.root)).hexdigest()[:8]}/"


def _is_settled(model: ListedModel) -> bool:
    stamps = (model.ref, *(known for _, known in model.blobs if known is not None))
    return all(map(is_settled, stamps))


def _is_needed(
    lines: Mapping[str, ListedModel], digests: set[str], index: StoreIndex, key: str
) -> bool:
    """Return whether a line of the index is of a listed model or of one of its files."""
    return key in lines if key.startswith("ref:") else is_kept(key, digests, index.get)


def _to_json(model: ListedModel) -> dict[str, Any]:
    return {
        "stamp": model.ref,
        "name": model.summary.name,
        "manifest": hex_of(model.summary.digest),
        "size": model.summary.size_bytes,
        "updated": model.updated,
        "details": details_to_json(model.summary.details),
        "blobs": model.blobs,
        "remote": None if model.summary.remote is None else model.summary.remote.to_json(),
    }


def _from_json(value: Any) -> ListedModel | None:  # noqa: ANN401 - any JSON value
    """Return the model of a line, or None if there is no line or it cannot be read."""
    if value is None:
        return None
    malformed = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IntegrityError)
    with contextlib.suppress(*malformed):
        summary = ModelSummary(
            name=text(value["name"]),
            digest=f"sha256:{hex_digest(value['manifest'])}",
            size_bytes=number(value["size"]),
            modified=datetime.fromisoformat(value["updated"]).astimezone(),
            details=details_from_json(value["details"]),
            remote=_remote(value.get("remote")),
        )
        blobs = tuple(
            (hex_digest(digest), None if known is None else stamp(known))
            for digest, known in value["blobs"]
        )
        return ListedModel(
            summary=summary, updated=value["updated"], ref=stamp(value["stamp"]), blobs=blobs
        )
    return None


def _remote(value: Any) -> RemoteModel | None:  # noqa: ANN401 - any JSON value
    return None if value is None else RemoteModel.from_json(value)
