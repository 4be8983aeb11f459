"""Batches of one server: creating and cancelling them, and the task that executes them.

Batches of all servers on this machine share one folder, and one server at a time executes them, one
batch after another; it locks the folder while any is open. Those that are open when a server ends
go on when the next one starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import time
from typing import TYPE_CHECKING, BinaryIO

from localrun.disk import storage_errors
from localrun.errors import LocalrunError, StorageError
from localrun.private import make_private_folder, open_private
from localrun.server.batches.batch import BatchRecord, BatchStatus
from localrun.server.batches.batch_store import BatchStore
from localrun.server.batches.execution import BatchExecution
from localrun.server.batches.files import FileStore
from localrun.system.locks import NoLocksError, lock

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.server.batches.own_requests import OwnRequests
    from localrun.server.middleware.activity import Activity

_log = logging.getLogger(__name__)

LOCK = "lock"
OTHER_SERVER_S = 10.0  # until a server looks again whether another one still executes batches
AFTER_FAILURE_S = 30.0
CANCEL_AGAIN_S = 0.5
CANCELLED_ELSEWHERE_S = 2.0  # between two looks whether another server cancels the batch
CLEAN_S = 3600.0  # between two looks at what has expired


class BatchService:
    """The files and batches in a folder; methods without ``async`` block."""

    def __init__(
        self, folder: Path, requests: OwnRequests, activity: Activity, *, num_parallel: int
    ) -> None:
        self.files = FileStore(folder)
        self.batches = BatchStore(folder)
        self._requests = requests
        self._activity = activity
        self._num_parallel = num_parallel
        self._folder = folder
        self._lock: BinaryIO | None = None
        self._execution: BatchExecution | None = None
        self._is_changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Execute open batches from now on; call it on the event loop."""
        self._is_changed.set()
        if self._task is None:
            # in an empty context: the task belongs to no request
            self._task = asyncio.get_running_loop().create_task(
                self._execute_all(), context=contextvars.Context()
            )

    async def stop(self) -> None:
        """Stop in the middle of whatever is under way."""
        if self._task is not None:
            while not self._task.done():  # `wait_for` of Python 3.11 may lose a cancellation
                self._task.cancel()
                await asyncio.wait([self._task], timeout=CANCEL_AGAIN_S)
        self._unlock()

    @property
    def has_lock(self) -> bool:
        """Return whether this server is the one that executes batches now."""
        return self._lock is not None

    def current(self, batch: BatchRecord) -> BatchRecord:
        """Return a batch with its present counts."""
        execution = self._execution
        is_executed = execution is not None and execution.batch.id == batch.id
        return execution.current() if execution is not None and is_executed else batch

    async def cancel(self, batch: BatchRecord) -> BatchRecord:
        """Cancel a batch if it is open, and return it.

        Raises:
            StorageError: its record cannot be written.
        """
        execution = self._execution
        if execution is not None and execution.batch.id == batch.id:
            await execution.cancel()
            return execution.current()
        if batch.status in {BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS}:
            batch = await asyncio.to_thread(self.batches.begin, batch, BatchStatus.CANCELLING)
            execution = self._execution
            if execution is not None and execution.batch.id == batch.id:  # it has just begun
                await execution.cancel()
                return execution.current()
            self.start()
        return batch

    async def _execute_all(self) -> None:
        while True:
            self._is_changed.clear()
            try:
                wait_s = await self._execute_open()
            except (LocalrunError, OSError) as error:
                _log.error("batches wait: %s", error)
                wait_s = AFTER_FAILURE_S
            except Exception:  # noqa: BLE001 - or no batch would be executed until the next start
                _log.exception("batches wait")
                wait_s = AFTER_FAILURE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_changed.wait(), wait_s)

    async def _execute_open(self) -> float:
        """Execute batches until none is open; return when to look again, in seconds."""
        await asyncio.to_thread(self.files.clean)
        while (batch := await asyncio.to_thread(self.batches.next_open)) is not None:
            if not await asyncio.to_thread(self._take_lock):
                return OTHER_SERVER_S
            batch = await asyncio.to_thread(self.batches.current, batch)
            if batch.status.is_open:
                with self._activity.hold():
                    await self._execute(batch)
        self._unlock()  # another server may get the next batch
        return CLEAN_S

    async def _execute(self, batch: BatchRecord) -> None:
        _log.info("%s: %s, %s", batch.id, batch.status.value, batch.endpoint)
        self._execution = BatchExecution(
            batch,
            batches=self.batches,
            files=self.files,
            requests=self._requests,
            num_parallel=self._num_parallel,
        )
        begun = time.monotonic()
        cancelling = asyncio.create_task(self._cancel_with_record(self._execution))
        try:
            await self._execution.run()
        finally:
            cancelling.cancel()
            ended, self._execution = self._execution.batch, None
        _log.info("%s: %s in %.0f s", batch.id, ended.status.value, time.monotonic() - begun)

    async def _cancel_with_record(self, execution: BatchExecution) -> None:
        """Cancel an execution as soon as another server has recorded the cancellation."""
        while True:
            await asyncio.sleep(CANCELLED_ELSEWHERE_S)
            try:
                record = await asyncio.to_thread(self.batches.current, execution.batch)
                if record.status is BatchStatus.CANCELLING:
                    await execution.cancel()
                    return
            except StorageError as error:
                _log.error("%s is not cancelled yet: %s", execution.batch.id, error.message)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> bool:
        """Return whether the folder is locked by this server, after trying to lock it."""
        if self._lock is not None:
            return True
        path = self._folder / LOCK
        with storage_errors(path):
            make_private_folder(self._folder)
            file = open(path, "a+b", opener=open_private)  # noqa: SIM115 - Path.open has no opener; the lock lasts as long as the file is open
            try:
                lock(file.fileno(), wait=False)
            except BlockingIOError:
                file.close()
                return False
            except NoLocksError:
                _log.warning("%s has no locks: let one server execute batches", os.fspath(path))
        self._lock = file
        return True
