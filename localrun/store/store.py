"""Model store: names, manifests and blobs of one folder, and read-only stores behind it.

Other stores (a disk that a team shares) are searched after our own, for names and for blobs, and
are never written. Every operation is safe while other processes work on the same store. The
embedded models are no part of it: they are files of the package.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, StorageError
from localrun.store.blobs import BlobStore
from localrun.store.layout import Layout, check_version, create
from localrun.store.locks import leased
from localrun.store.manifest import MAX_BYTES, Manifest, Role, parse_manifest
from localrun.store.refs import StoredRef, list_refs, load_ref, read_ref, write_ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from localrun.names.ref import ModelRef
    from localrun.store.locks import Lease

EMBEDDED = {"guide:latest": "guide.gguf"}
EMBEDDED_PROJECTORS = {"guide:latest": "mmproj-guide.gguf"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Name in a store, with its manifest."""

    ref: StoredRef
    manifest: Manifest
    is_own: bool  # False for an entry of a read-only store


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Source of a pulled model, or base of a model that was created here."""

    origin: str | None = None
    choice: str | None = None
    revision: str | None = None
    base: str | None = None
    scheme: str | None = None


class Store:
    """The models of this machine, except the embedded ones."""

    def __init__(self, root: Path, others: Sequence[Path] = ()) -> None:
        self.layout = Layout(root)
        self._others = [Layout(other) for other in others]
        self.blobs = BlobStore(self.layout, self._others)

    def lease(self, digests: Iterable[str] = ()) -> AbstractContextManager[Lease]:
        """Keep digests from garbage collection in the block; creates the store if needed."""
        create(self.layout)
        return leased(self.layout, digests)

    def find(self, ref: ModelRef) -> Entry | None:
        """Return the entry of a name, or None if no store has it.

        Raises:
            IntegrityError: the reference or its manifest is damaged or missing.
        """
        for layout in (self.layout, *self._others):
            check_version(layout)
            entry = self._current_entry(layout, ref)
            if entry is not None and (ref.digest is None or ref.digest in _digests_of(entry, ref)):
                return entry
        return None

    def entries(self) -> list[Entry]:
        """Return all entries without damaged ones; ours win over others of the same name."""
        entries: dict[tuple[str, ...], Entry] = {}
        for layout in (self.layout, *self._others):
            for stored in list_refs(layout) if check_version(layout) else ():
                key = stored.parsed.key
                if key not in entries:
                    with _left_out():
                        entries[key] = self._entry(stored, layout)
        return sorted(entries.values(), key=lambda entry: entry.ref.name)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Return our own store and those behind it that exist.

        Raises:
            StorageError: a later localrun created a store, or its marker is damaged.
        """
        layouts = (self.layout, *self._others)
        return tuple(layout for layout in layouts if check_version(layout))

    def read_entry(self, layout: Layout, path: Path) -> Entry:
        """Return the entry of a reference file.

        Raises:
            IntegrityError: the reference or its manifest is damaged or missing.
            OSError: the file cannot be read.
        """
        return self._entry(load_ref(layout, path), layout)

    def check_whole(self, entry: Entry) -> None:
        """Check that every file of a model exists with its size, without reading any.

        Raises:
            IntegrityError: a file is missing or truncated; the error names the model.
        """
        for blob in entry.manifest.blobs:
            try:
                self.blobs.path(blob.digest, blob.size_bytes)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{entry.ref.name}: {error.message}", hint=error.hint
                ) from error

    def manifest(self, digest: str) -> Manifest:
        """Return the manifest of a digest.

        Raises:
            IntegrityError: the manifest is missing or damaged.
        """
        content = self.blobs.read(digest, max_bytes=MAX_BYTES)
        try:
            return parse_manifest(content)
        except IntegrityError as error:
            raise IntegrityError(f"{digest}: {error.message}", hint=error.hint) from error

    def tag(
        self,
        ref: ModelRef,
        manifest: bytes,
        lease: Lease,
        provenance: Provenance | None = None,
        *,
        takes_remote: bool = False,
    ) -> StoredRef:
        """Point a name at a manifest, and return the new reference.

        Only the user may name the engine of a remote model, which receives prompts and maybe a key:
        a manifest from elsewhere is refused unless ``takes_remote``.

        Raises:
            IntegrityError: the manifest has no layers, or a blob is missing or has another size,
                or it is a remote model from elsewhere.
        """
        parsed = parse_manifest(manifest)
        if not parsed.layers:
            raise IntegrityError(f"the manifest of {ref} has no layers, so it holds no model")
        if parsed.with_role(Role.REMOTE) and not takes_remote:
            raise IntegrityError(
                f"{ref} is a remote model, which is accepted from nobody else",
                hint="localrun remote add NAME URL   makes one",
            )
        lease.add(blob.digest for blob in parsed.blobs)
        for blob in parsed.blobs:
            if self.blobs.find(blob.digest, blob.size_bytes) is None:
                raise IntegrityError(f"a file of {ref} is missing: {blob.digest}")
        known = provenance or Provenance()
        stored = StoredRef(
            name=str(ref),
            manifest=self.blobs.put(manifest, lease),
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            origin=known.origin,
            choice=known.choice,
            revision=known.revision,
            base=known.base,
            scheme=known.scheme,
        )
        write_ref(self.layout, ref, stored, lease)
        return stored

    def allows_plain_http(self, ref: ModelRef) -> bool:
        """Return whether the user allowed the registry of a name without TLS.

        An entry of a read-only store does not allow it.
        """
        try:
            entry = self.find(replace(ref, digest=None))
        except IntegrityError:
            return False
        return entry is not None and entry.is_own and entry.ref.is_plain_http

    def _current_entry(self, layout: Layout, ref: ModelRef) -> Entry | None:
        """Return the entry of a name; retry if the name was changed during the read."""
        stored = read_ref(layout, ref)
        while stored is not None:
            try:
                return self._entry(stored, layout)
            except IntegrityError:
                before, stored = stored, read_ref(layout, ref)
                if stored == before:
                    raise
        return None

    def _entry(self, stored: StoredRef, layout: Layout) -> Entry:
        try:
            manifest = self.manifest(stored.manifest)
        except IntegrityError as error:
            raise IntegrityError(f"{stored.name}: {error.message}", hint=error.hint) from error
        return Entry(ref=stored, manifest=manifest, is_own=layout is self.layout)


def embedded_models() -> dict[str, Path]:
    """Return the GGUF file of each model in the package by its full name."""
    return _files_of_package(EMBEDDED)


def embedded_projectors() -> dict[str, Path]:
    """Return the projector of each model in the package that sees, by the model's full name."""
    return _files_of_package(EMBEDDED_PROJECTORS)


def _files_of_package(names: dict[str, str]) -> dict[str, Path]:
    folder = files("localrun") / "data"
    return {model: Path(str(folder / name)) for model, name in names.items()}


@contextlib.contextmanager
def _left_out() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, StorageError) as error:
        _log.warning("left out: %s", error.message)


def _digests_of(entry: Entry, ref: ModelRef) -> set[str | None]:
    """Return what a name's digest may be: the manifest's, and for a URL its file's.

    A model that was translated here has that of the published manifest too.
    """
    digests = {entry.ref.manifest, entry.manifest.published}
    if ref.location is None:
        return digests
    files = {layer.published.digest for layer in entry.manifest.layers if layer.published}
    return {*digests, *files, *(layer.digest for layer in entry.manifest.layers)}
