"""Translation of a published file into blobs that llama.cpp loads, once.

A record says which blobs were made of it, so that it is not fetched again. The published file may
be a blob or any other file; it is only read.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, StorageError
from localrun.gguf.header import read_header
from localrun.services.creating.manifests import facts_of
from localrun.services.translating.notes import is_old_layout, other_file_hint
from localrun.store.adopt import AdoptMode, adopt
from localrun.store.manifest import Role
from localrun.store.translations import (
    TranslatedFile,
    TranslationRecord,
    find_translation,
    record_translation,
)
from localrun.system.files import can_share
from localrun.translation.rules import is_current, rules_for
from localrun.translation.translate import examine, translate

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.names.ref import ModelRef
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.locks import Lease
    from localrun.store.store import Store

TRANSLATED = (Role.WEIGHTS, Role.PROJECTOR)
LABEL = "translation"
SPARE_BYTES = 32 << 20  # kept free on the disk
MB, GB = 1e6, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBlob:
    """Published file that may have to be translated."""

    path: Path
    role: Role
    digest: str

    @property
    def needs_translation(self) -> bool:
        """Return whether it is in a layout of Ollama's old engine that can be translated."""
        return self.role in TRANSLATED and is_old_layout(read_header(self.path))


def current_translation(
    store: Store, digest: str, lease: Lease | None = None
) -> TranslationRecord | None:
    """Return the translation of a published file by today's rules, or None if it is not here."""
    record = find_translation(store, digest, lease)
    return record if record is not None and is_current(record.rules) else None


@dataclass(slots=True, kw_only=True)
class Translator:
    """Translator of the files of one model, and how much disk its translations have taken."""

    workspace: Workspace
    ref: ModelRef  # of the model
    lease: Lease
    report: ProgressReport
    copied_bytes: int = 0

    def find(self, digest: str) -> TranslationRecord | None:
        """Return the translation of a published file that was made before, or None."""
        return current_translation(self.workspace.store, digest, self.lease)

    def translate(self, blob: PublishedBlob) -> TranslationRecord:
        """Return the translation of a file that needs one.

        Raises:
            IntegrityError: the file has something that llama.cpp or the rules do not know.
            StorageError: the disk does not take the files.
        """
        try:
            return self.find(blob.digest) or self._translated(blob)
        except IntegrityError as error:
            raise IntegrityError(
                f"{self.ref} is in a layout that is not known: {error.message}",
                hint=other_file_hint(self.workspace, self.ref),
            ) from error

    def _translated(self, blob: PublishedBlob) -> TranslationRecord:
        header = read_header(blob.path)
        rules = rules_for(header)
        is_shared = can_share(blob.path, self.lease.temporary())
        self._note_costs(examine(blob.path).num_bytes, is_shared=is_shared)
        files = self._written(blob)
        self.copied_bytes += 0 if is_shared else sum(file.size_bytes for file in files)
        record = TranslationRecord(
            published=blob.digest,
            size_bytes=blob.path.stat().st_size,
            rules=rules.label if rules is not None else "",
            files=files,
            facts=facts_of(header),
        )
        record_translation(self.workspace.store, record, self.lease)
        return record

    def _written(self, blob: PublishedBlob) -> tuple[TranslatedFile, ...]:
        with self.lease.folder() as folder:
            targets = {role: folder / f"{role}.gguf" for role in (blob.role, Role.PROJECTOR)}
            second = targets[Role.PROJECTOR] if blob.role is not Role.PROJECTOR else None
            translate(
                blob.path,
                targets[blob.role],
                second,
                lambda done, of: self.report.advance(LABEL, done, of),
            )
            return tuple(self._kept(role, path) for role, path in targets.items() if path.exists())

    def _kept(self, role: Role, path: Path) -> TranslatedFile:
        adopted = adopt(self.workspace.store, path, self.lease, mode=AdoptMode.MOVE)
        return TranslatedFile(role=role, digest=adopted.digest, size_bytes=adopted.size_bytes)

    def _note_costs(self, num_bytes: int, *, is_shared: bool) -> None:
        """Report what the translation costs, before it costs it.

        Raises:
            StorageError: the disk has not enough space.
        """
        free = shutil.disk_usage(self.workspace.store.layout.root).free
        if not is_shared and num_bytes + SPARE_BYTES > free:
            raise StorageError(
                f"the translation of {self.ref} needs {_size(num_bytes)}, the disk has "
                f"{_size(free)} free",
                hint="free some space and type the same command; it downloads nothing again",
            )
        cost = "shares most blocks with it" if is_shared else f"takes {_size(num_bytes)} of disk"
        self.report.note(
            f"{self.ref} was written for Ollama's old engine: a translated copy {cost}"
        )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / GB:.2f} GB" if num_bytes >= GB else f"{num_bytes / MB:.1f} MB"
