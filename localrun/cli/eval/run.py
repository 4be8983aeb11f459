"""One run of an evaluation: its tasks, and the requests that it sends."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.batches.driver import Driver
from localrun.batches.input_file import spooled
from localrun.batches.outcome import Outcome
from localrun.cli.batch.loading import load_for_batch
from localrun.cli.output import Output
from localrun.cli.serving.answer import interruptible
from localrun.client.batch_sender import BatchSender, ServerRevival
from localrun.errors import UsageError
from localrun.evaluation.evaluation import evaluate
from localrun.evaluation.tasks import read_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.batches.requests import BatchRequest
    from localrun.evaluation.evaluation import EvaluationOptions, Result
    from localrun.evaluation.tasks import Task
    from localrun.settings import Settings

STDIN = "-"


class EvaluationRun:
    """Tasks, and the server that answers them."""

    def __init__(
        self, server: Settings, tasks: str, limit: int | None, num_parallel: int | None
    ) -> None:
        """Read the tasks; ``num_parallel`` None means as many as the model computes at once.

        Raises:
            UsageError: there is no such file, or a line of it is no task.
        """
        self._server = server
        self._num_parallel = num_parallel
        self._output = Output()
        self._tasks = _read(tasks, limit)
        self._num_done = 0

    def results(self, options: EvaluationOptions) -> list[Result]:
        """Return the results of one model.

        Raises:
            LocalrunError: the model does not load, or the server is gone.
        """
        num_parallel = load_for_batch(self._server, options.model, self._num_parallel)
        self._num_done = 0
        try:
            with interruptible():
                send = partial(self._send, num_parallel, options.model)
                return evaluate(self._tasks, options, send)
        finally:
            self._output.status("")

    def _send(
        self, num_parallel: int, model: str, requests: Sequence[BatchRequest]
    ) -> list[Outcome]:
        """Return the outcomes of requests in their order."""
        outcomes = [Outcome()] * len(requests)
        sender = partial(BatchSender, self._server, ServerRevival(self._server))
        driver = Driver(requests.__getitem__, sender, num_parallel)
        try:
            for done in driver.outcomes(iter(range(len(requests)))):
                outcomes[done.index] = done.outcome
                self._num_done += 1
                self._output.status(f"{model}: {self._num_done} requests answered")
        except BaseException:
            driver.stop()
            raise
        return outcomes


def _read(name: str, limit: int | None) -> list[Task]:
    if name != STDIN:
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"{name} does not exist", hint="localrun help eval")
        return read_tasks(path, name, limit)
    path = spooled(sys.stdin.buffer, Path(tempfile.gettempdir()))
    try:
        return read_tasks(path, "stdin", limit)
    finally:
        path.unlink(missing_ok=True)
