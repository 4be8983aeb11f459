"""Execution of one batch from its present state to its end.

Requests run several at once, as background requests. One that the server is too busy for is sent
again. Those whose runner dies are sent again when all others have ended, one at a time, so that the
one that kills it takes no other with it. Invariant: a line of the input gets one line of output
or of errors, unless the batch is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from localrun.errors import NotFoundError, RunnerDiedError, StorageError
from localrun.server.batches.batch import BatchStatus
from localrun.server.batches.batch_store import ERRORS, OUTPUT
from localrun.server.batches.input_lines import CheckedInput, check_input, read_line
from localrun.server.batches.results import ResultFiles

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.server.batches.batch import BatchRecord
    from localrun.server.batches.batch_store import BatchStore
    from localrun.server.batches.files import FileStore
    from localrun.server.batches.input_lines import InputLine
    from localrun.server.batches.own_requests import OwnRequests, OwnResponse

_log = logging.getLogger(__name__)

BUSY = {429, 503}  # statuses after which a request is sent again
RETRY_S = 2.0
FULL_DISK_S = 30.0  # until a result is written again that did not fit on the disk
EXPIRED = "this request was not answered before its batch expired"


class BatchExecution:
    """One batch and its files; `run` is called once, on the event loop."""

    def __init__(
        self,
        batch: BatchRecord,
        *,
        batches: BatchStore,
        files: FileStore,
        requests: OwnRequests,
        num_parallel: int,
    ) -> None:
        self.batch = batch
        self._batches = batches
        self._files = files
        self._requests = requests
        self._num_parallel = num_parallel
        self._results: ResultFiles | None = None
        self._writing = asyncio.Lock()  # one line at a time
        self._changing = asyncio.Lock()  # held while the state changes
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Bring the batch to its end; if this is cancelled, another execution goes on.

        Raises:
            StorageError: a record cannot be written.
        """
        checked = await asyncio.to_thread(self._check)
        async with self._changing:
            if self.batch.status is BatchStatus.VALIDATING:
                await asyncio.to_thread(self._validate, checked)
            elif checked.errors:
                self.batch = replace(self.batch, errors=tuple(checked.errors))
        if self.batch.status is BatchStatus.IN_PROGRESS and not self.batch.errors:
            await self._answer_all(checked.offsets)
        async with self._changing:
            if self.batch.status.is_open:
                await asyncio.to_thread(self._finish)

    async def cancel(self) -> None:
        """End the batch with what it has, unless it is ending already.

        Raises:
            StorageError: its record cannot be written.
        """
        async with self._changing:
            if self.batch.status not in {BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS}:
                return
            begin = self._batches.begin
            self.batch = await asyncio.to_thread(begin, self.current(), BatchStatus.CANCELLING)
        if self._running is not None:
            self._running.cancel()

    def current(self) -> BatchRecord:
        """Return the batch with its present counts."""
        if self._results is None:
            return self.batch
        return replace(self.batch, counts=self._results.counts, usage=self._results.usage)

    @property
    def _is_cancelling(self) -> bool:
        return self.batch.status is BatchStatus.CANCELLING

    def _input(self) -> Path:
        batch = self.batch
        return self._files.content(self._files.find(batch.input_file_id, batch.owner))

    def _check(self) -> CheckedInput:
        try:
            return check_input(self._input(), self.batch.endpoint)
        except (NotFoundError, OSError):
            error = {"code": "missing_file", "line": None, "param": "input_file_id"}
            return CheckedInput(errors=[{**error, "message": "the input file does not exist"}])

    def _validate(self, checked: CheckedInput) -> None:
        counts = replace(self.batch.counts, total=len(checked.offsets))
        self.batch = replace(
            self.batch, counts=counts, model=checked.model, errors=tuple(checked.errors)
        )
        has_failed = bool(checked.errors)
        status = BatchStatus.FAILED if has_failed else BatchStatus.IN_PROGRESS
        self.batch = self._batches.begin(self.batch, status)

    def _open_results(self, total: int) -> ResultFiles:
        paths = [self._batches.results(self.batch, kind) for kind in (OUTPUT, ERRORS)]
        return ResultFiles(paths[0], paths[1], total=total)

    async def _answer_all(self, offsets: array[int]) -> None:
        """Answer the lines that have no result yet, until all have, or the time is over."""
        results = await asyncio.to_thread(self._open_results, self.batch.counts.total)
        self._results = results
        try:
            with await asyncio.to_thread(self._input().open, "rb") as file:
                read = partial(_undone, file, offsets, self.batch.endpoint, results.done)
                self._running = asyncio.create_task(self._answer(read))
                if self._is_cancelling:  # while the files were opened
                    self._running.cancel()
                await self._until_expired(self._running)
                await self._expire(file, offsets)
        finally:
            if self._running is not None:
                self._running.cancel()
            self.batch = self.current()
            self._results = None
            await asyncio.to_thread(results.close)

    async def _until_expired(self, task: asyncio.Task[None]) -> None:
        left_s = self.batch.expires_at - time.time()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, max(0.0, left_s))
        except asyncio.CancelledError:
            if self.batch.status is not BatchStatus.CANCELLING:
                raise  # the server is leaving

    async def _answer(self, read: Callable[[], Iterator[InputLine]]) -> None:
        """Answer lines by several tasks that take one after another, and then the rest alone."""
        source = _LineSource(read())
        async with asyncio.TaskGroup() as group:
            for _ in range(self._num_parallel):
                group.create_task(self._answer_next(source, is_last_try=False))
        await self._answer_next(_LineSource(read()), is_last_try=True)

    async def _answer_next(self, source: _LineSource, *, is_last_try: bool) -> None:
        while (line := await source.next()) is not None:
            response = await self._response(line)
            if is_last_try or response.error_code != RunnerDiedError.code:
                await self._keep(partial(self._added, line.custom_id, response))

    def _added(self, custom_id: str, response: OwnResponse) -> None:
        if self._results is not None:
            self._results.add(custom_id, response)

    async def _keep(self, write: Callable[[], None]) -> None:
        """Write a result, again and again while the disk is full."""
        while True:
            try:
                async with self._writing:
                    await asyncio.to_thread(write)
            except StorageError as error:
                _log.error("%s waits: %s", self.batch.id, error.message)
                await asyncio.sleep(FULL_DISK_S)
            else:
                return

    async def _response(self, line: InputLine) -> OwnResponse:
        body = json.dumps(line.body).encode()
        while True:
            response = await self._requests.post(self.batch.endpoint, body)
            if response.status not in BUSY:
                return response
            await asyncio.sleep(RETRY_S)

    async def _expire(self, file: BinaryIO, offsets: array[int]) -> None:
        """Write the lines of requests that were not answered in time."""
        results = self._results
        if results is None or len(results.done) >= self.batch.counts.total:
            return
        if self.batch.status is BatchStatus.CANCELLING:
            return
        self.batch = replace(self.batch, has_expired=True)
        for line in _undone(file, offsets, self.batch.endpoint, results.done):
            await self._keep(partial(results.add_error, line.custom_id, "batch_expired", EXPIRED))

    def _finish(self) -> None:
        """Make files of the results, and end the batch."""
        if self.batch.status is BatchStatus.IN_PROGRESS:
            self.batch = self._batches.begin(self.batch, BatchStatus.FINALIZING)
        results = self._open_results(self.batch.counts.total)
        results.close()
        self.batch = replace(self.batch, counts=results.counts, usage=results.usage)
        if self.batch.output_file_id is None:
            self.batch = replace(self.batch, output_file_id=self._added_file(OUTPUT))
            self._batches.write(self.batch)  # a server that is killed now adds no second one
        if self.batch.error_file_id is None:
            self.batch = replace(self.batch, error_file_id=self._added_file(ERRORS))
        self.batch = self._batches.begin(self.batch, self._end())
        for kind in (OUTPUT, ERRORS):
            self._batches.results(self.batch, kind).unlink(missing_ok=True)

    def _end(self) -> BatchStatus:
        """Return the last state."""
        if self.batch.errors:
            return BatchStatus.FAILED
        if self.batch.status is BatchStatus.CANCELLING:
            return BatchStatus.CANCELLED
        return BatchStatus.EXPIRED if self.batch.has_expired else BatchStatus.COMPLETED

    def _added_file(self, kind: str) -> str | None:
        """Return the id of a new file with the results of a kind, None if there are none."""
        batch = self.batch
        path = self._batches.results(batch, kind)
        if not path.stat().st_size:
            return None
        with path.open("rb") as file:
            record = self._files.add(
                file,
                filename=f"{batch.id}{kind}.jsonl",
                purpose="batch_output",
                owner=batch.owner,
                expires_after_s=batch.output_expires_after_s,
            )
        return record.id


class _LineSource:
    """Lines of a file, read in a thread, for several tasks."""

    def __init__(self, lines: Iterator[InputLine]) -> None:
        self._lines = lines
        self._reading = asyncio.Lock()

    async def next(self) -> InputLine | None:
        async with self._reading:
            return await asyncio.to_thread(next, self._lines, None)


def _undone(
    file: BinaryIO, offsets: array[int], endpoint: str, done: set[str]
) -> Iterator[InputLine]:
    """Yield the lines that have no result."""
    for offset in offsets:
        line = read_line(file, offset, endpoint)
        if line.custom_id not in done:
            yield line
