"""Records of batches that several threads change at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from localrun.server.batches.batch import BatchRecord, BatchStatus
from localrun.server.batches.batch_store import BatchStore

if TYPE_CHECKING:
    from pathlib import Path


def stored(batches: BatchStore) -> BatchRecord:
    batch = BatchRecord(
        id=batches.new_id(),
        endpoint="/v1/chat/completions",
        input_file_id="file-1",
        completion_window="24h",
        created_at=1,
        expires_at=3600,
    )
    batches.write(batch)
    return batch


def test_threads_that_write_a_record_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    batches = BatchStore(tmp_path)
    batch = stored(batches)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: batches.write(batch), range(40)))

    assert batches.current(batch) == batch
    assert [path.name for path in tmp_path.iterdir()] == [f"{batch.id}.json"]


def test_a_batch_that_is_being_cancelled_does_not_begin(tmp_path: Path) -> None:
    batches = BatchStore(tmp_path)
    batch = stored(batches)

    batches.begin(batch, BatchStatus.CANCELLING)
    begun = batches.begin(batch, BatchStatus.IN_PROGRESS)

    assert begun.status is BatchStatus.CANCELLING
    assert batches.current(batch).status is BatchStatus.CANCELLING
    assert batches.begin(begun, BatchStatus.CANCELLED).status is BatchStatus.CANCELLED
