"""Driver of a batch: sends its requests, several at once, and hands over the outcomes.

Requests whose prompts begin alike follow each other, within a window of records, so that the server
computes the beginning once. A request that the server is too busy for is sent again. One during
which the runner died, or the connection was lost, is set aside and sent again when all others have
ended, alone, so that the one that kills the runner takes no other with it. A model that is gone
ends the work, and the other records have no outcome. Invariant: each record that is not done gets
at most one outcome, and exactly one if nothing ends the work.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localrun.batches.outcome import Outcome
from localrun.errors import LocalrunError, UsageError, error_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.batches.requests import BatchRequest

WINDOW = 4096  # records that are ordered together
BUSY = {429, 503}
RUNNER_DIED, SERVER_GONE = "runner_died", "server_unreachable"
FATAL = {"model_not_found", "load_failed"}  # codes: no other record would be answered either
MAX_TRIES = 3  # of a request that is sent alone
RETRY_S = 1.0
STEP_S = 0.5  # of a wait, so that Ctrl-C ends it


class Sender(Protocol):
    """Connection of one thread to the server."""

    def send(self, path: str, body: bytes) -> Outcome:
        """Return the outcome of a request; blocks.

        Raises:
            LocalrunError: the server does not answer, and cannot be started again.
        """

    def close(self) -> None:
        """Close the connection, which cancels its request; safe from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A record and what became of it."""

    index: int
    request: BatchRequest | None  # None if the record makes none
    outcome: Outcome


class Driver:
    """Sends the requests of records; one thread iterates over `outcomes`."""

    def __init__(
        self,
        make: Callable[[int], BatchRequest],
        open_sender: Callable[[], Sender],
        num_parallel: int,
    ) -> None:
        """``make`` returns the request of a record, or raises UsageError."""
        self._make = make
        self._open_sender = open_sender
        self._num_parallel = num_parallel
        self._done: queue.SimpleQueue[Done | LocalrunError | BaseException | None] = (
            queue.SimpleQueue()
        )
        self._senders: list[Sender] = []
        self._taking = threading.Lock()  # of the next record
        self._stopped = threading.Event()
        self._set_aside: list[int] = []

    def outcomes(self, indices: Iterator[int]) -> Iterator[Done]:
        """Yield the outcomes of records as they come.

        Raises:
            LocalrunError: the server is gone for good, or the model.
        """
        yield from self._pass(indices, self._num_parallel, is_last=False)
        again, self._set_aside = sorted(self._set_aside), []
        yield from self._pass(iter(again), 1, is_last=True)

    def stop(self) -> None:
        """End all requests that run; none begins any more."""
        self._stopped.set()
        for sender in list(self._senders):
            sender.close()

    def _pass(self, indices: Iterator[int], num_threads: int, *, is_last: bool) -> Iterator[Done]:
        source = self._ordered(indices)
        threads = [
            threading.Thread(target=self._work, args=(source, is_last), daemon=True)
            for _ in range(num_threads)
        ]
        for thread in threads:
            thread.start()
        num_ended = 0
        while num_ended < num_threads:
            try:
                done = self._done.get(timeout=STEP_S)
            except queue.Empty:
                continue
            if done is None:
                num_ended += 1
            elif isinstance(done, BaseException):
                self.stop()
                raise done
            else:
                yield done

    def _ordered(self, indices: Iterator[int]) -> Iterator[int]:
        """Yield records whose prompts begin alike one after another."""
        window: list[tuple[str, int]] = []
        for index in indices:
            request = self._made(index).request
            window.append((request.beginning if request else "", index))
            if len(window) == WINDOW:
                yield from (each for _, each in sorted(window))
                window = []
        yield from (each for _, each in sorted(window))

    def _made(self, index: int) -> Done:
        """Return the request of a record, or the outcome of one that makes none."""
        try:
            return Done(index=index, request=self._make(index), outcome=Outcome())
        except UsageError as error:
            outcome = Outcome(code=error.code, message=error.message)
            return Done(index=index, request=None, outcome=outcome)

    def _work(self, source: Iterator[int], is_last: bool) -> None:  # noqa: FBT001 - of a thread
        sender: Sender | None = None
        try:
            sender = self._open_sender()
            self._senders.append(sender)
            while (index := self._take(source)) is not None:
                self._answer(sender, self._made(index), is_last=is_last)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            if not self._stopped.is_set():
                self._done.put(error)
        finally:
            if sender is not None:
                sender.close()
            self._done.put(None)

    def _take(self, source: Iterator[int]) -> int | None:
        with self._taking:
            return None if self._stopped.is_set() else next(source, None)

    def _answer(self, sender: Sender, asked: Done, *, is_last: bool) -> None:
        request = asked.request
        if request is None:
            self._done.put(asked)
            return
        outcome = self._sent(sender, request, MAX_TRIES if is_last else 1)
        if self._stopped.is_set():
            return
        error = outcome.error() if not outcome.is_ok else {"code": ""}
        if error["code"] in FATAL:
            raise error_named(error["code"], error["message"])
        if not is_last and _is_broken(outcome):
            self._set_aside.append(asked.index)
        else:
            self._done.put(Done(index=asked.index, request=request, outcome=outcome))

    def _sent(self, sender: Sender, request: BatchRequest, max_tries: int) -> Outcome:
        content, num_tries = request.content, 0
        while True:
            outcome = sender.send(request.path, content)
            num_tries += int(_is_broken(outcome))
            is_final = outcome.status not in BUSY and not (
                _is_broken(outcome) and num_tries < max_tries
            )
            if is_final or self._stopped.wait(RETRY_S):
                return outcome


def _is_broken(outcome: Outcome) -> bool:
    if outcome.code:
        return outcome.code == SERVER_GONE
    return not outcome.is_ok and outcome.error()["code"] == RUNNER_DIED
