"""Translation of the files of a pull, which are not fetched if it was made before."""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, StorageError
from localrun.services.creating.manifests import layer_of, make_manifest
from localrun.services.translating.blobs import (
    TRANSLATED,
    PublishedBlob,
    current_translation,
)
from localrun.services.translating.manifests import translated_manifest
from localrun.store.garbage import collect_garbage
from localrun.store.manifest import MEDIA_TYPES, Descriptor, Role, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.pulling.fetch import FetchedBlob
    from localrun.services.pulling.plan import PlannedFile, PullPlan
    from localrun.services.translating.blobs import Translator
    from localrun.services.workspace import Workspace
    from localrun.store.translations import TranslationRecord

_log = logging.getLogger(__name__)


class PulledFiles:
    """Files of a plan: those to fetch, and those that were translated before."""

    def __init__(self, plan: PullPlan, translator: Translator) -> None:
        self._plan = plan
        self._translator = translator
        self._records = self._known_records()
        self.missing = [each for each in plan.files if each.file.digest not in self._records]
        self.known_bytes = sum(record.size_bytes for record in self._records.values())
        for planned in plan.files:
            record = self._records.get(planned.file.digest or "")
            if record is not None:
                translator.report.advance(planned.file.name, record.size_bytes, record.size_bytes)

    def make_manifest(self, fetched: Sequence[FetchedBlob]) -> bytes:
        """Make the manifest of files from a hub or a URL, as they were published."""
        blobs, facts, layers = iter(fetched), None, []
        for planned in self._plan.files:
            record = self._records.get(planned.file.digest or "")
            if record is None:
                blob = next(blobs)
                layers.append(layer_of(planned.role, planned.file.name, blob.path, blob.digest))
                continue
            facts = record.facts if planned.role is Role.WEIGHTS else facts
            layers.append(_layer_of_record(planned, record))
        store, lease = self._translator.workspace.store, self._translator.lease
        return make_manifest(store, layers, lease, facts)

    def translate(self, published: bytes, fetched: Sequence[FetchedBlob]) -> bytes:
        """Translate the files that need it, and return the manifest with their translations.

        Raises:
            IntegrityError: a file is in a layout that is not known.
            StorageError: the disk does not take a translation.
        """
        num_shards = sum(planned.role is Role.WEIGHTS for planned in self._plan.files)
        for planned, file in zip(self.missing, fetched, strict=True):
            blob = PublishedBlob(path=file.path, role=planned.role, digest=file.digest)
            is_whole = num_shards == 1 or planned.role is not Role.WEIGHTS  # Ollama splits no file
            if is_whole and blob.needs_translation:
                self._records[file.digest] = self._translator.translate(blob)
        if not self._records:
            return published
        manifest = parse_manifest(published)
        return translated_manifest(published, manifest, self._records).to_bytes()

    def collect_published(self) -> None:
        """Delete the published files that were translated, unless another model needs them."""
        if not self._records:
            return
        try:
            collect_garbage(self._translator.workspace.store, only=self._records)
        except (IntegrityError, StorageError) as error:  # the model is complete even so
            _log.warning("published files are kept: %s", error.message)

    def _known_records(self) -> dict[str, TranslationRecord]:
        digests = [
            planned.file.digest
            for planned in self._plan.files
            if planned.role in TRANSLATED and planned.file.digest is not None
        ]
        found = {digest: self._translator.find(digest) for digest in digests}
        return {digest: record for digest, record in found.items() if record is not None}


def is_here(workspace: Workspace, planned: PlannedFile) -> bool:
    """Return whether a file of a plan, or its translation, is in the store."""
    digest, store = planned.file.digest, workspace.store
    if digest is None:
        return False
    return store.blobs.find(digest) is not None or current_translation(store, digest) is not None


def _layer_of_record(planned: PlannedFile, record: TranslationRecord) -> Descriptor:
    return Descriptor(
        media_type=MEDIA_TYPES[planned.role],
        digest=record.published,
        size_bytes=record.size_bytes,
        name=PurePosixPath(planned.file.name).name,
    )
