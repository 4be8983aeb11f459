"""Batches on disk: their records, and the results of those that are not complete.

    batch_….json     the record
    batch_….output   lines of the requests that were answered, in the order of their ends
    batch_….errors   lines of the requests that failed

A line is appended once its request has ended, so whatever ends the server, a batch goes on behind
the lines that are there (`results`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import NotFoundError
from localrun.server.batches.batch import BatchRecord, BatchStatus
from localrun.server.batches.records import RecordFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTPUT, ERRORS = ".output", ".errors"


class BatchStore:
    """Batches in a folder; all methods block."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._records = RecordFolder(folder, "batch_")
        self._clock = clock
        self._lock = threading.Lock()  # one write of a record at a time; nothing is taken inside

    @property
    def folder(self) -> Path:
        """Return the folder."""
        return self._records.folder

    def new_id(self) -> str:
        """Return an id that no batch has."""
        return self._records.new_id()

    def write(self, batch: BatchRecord) -> None:
        """Keep a batch, or its new state.

        Raises:
            StorageError: it cannot be written.
        """
        with self._lock:
            self._records.write(batch.to_record())

    def begin(self, batch: BatchRecord, status: BatchStatus) -> BatchRecord:
        """Return a batch in a new state, which is kept; one that is being cancelled stays so.

        Raises:
            StorageError: it cannot be written.
        """
        with self._lock:
            known = self.current(batch)
            if known.status is BatchStatus.CANCELLING and status is BatchStatus.IN_PROGRESS:
                status = BatchStatus.CANCELLING
            begun_at = {**known.begun_at, **batch.begun_at}
            begun_at.setdefault(status.value, int(self._clock()))
            changed = replace(batch, status=status, begun_at=begun_at)
            self._records.write(changed.to_record())
        return changed

    def find(self, batch_id: str, owner: str) -> BatchRecord:
        """Return a batch.

        Raises:
            NotFoundError: there is none of this id, or it is another owner's.
        """
        record = self._read(batch_id)
        if record is None or record.owner != owner:
            raise NotFoundError(f"there is no batch {batch_id[:80]!r}", hint="GET /v1/batches")
        return record

    def current(self, batch: BatchRecord) -> BatchRecord:
        """Return a batch as it is now."""
        return self._read(batch.id) or batch

    def owned_by(self, owner: str) -> list[BatchRecord]:
        """Return the batches of an owner, the newest first."""
        found = [batch for batch in self._all() if batch.owner == owner]
        return sorted(found, key=lambda batch: (batch.created_at, batch.id), reverse=True)

    def next_open(self) -> BatchRecord | None:
        """Return the oldest batch with work left."""
        found = [batch for batch in self._all() if batch.status.is_open]
        return min(found, key=lambda batch: (batch.created_at, batch.id), default=None)

    def results(self, batch: BatchRecord, kind: str) -> Path:
        """Return the path of the lines of a batch; ``kind`` is `OUTPUT` or `ERRORS`."""
        return self._records.path(batch.id, kind)

    def _all(self) -> list[BatchRecord]:
        found = [self._read(record_id) for record_id in self._records.ids()]
        return [batch for batch in found if batch is not None]

    def _read(self, batch_id: str) -> BatchRecord | None:
        fields = self._records.read(batch_id)
        return None if fields is None else BatchRecord.from_record(fields)
