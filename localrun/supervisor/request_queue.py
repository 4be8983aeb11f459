"""A request from its submission to its one end, and the line in which requests wait.

Exactly one terminal event leaves a `PendingRequest` in any case: the queue ends waiting requests,
the runner ends submitted ones. Not safe from several threads: the slot has the lock.
"""

from __future__ import annotations

from collections import Counter, deque
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.runner.messages import Failed, Finished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.errors import LocalrunError
    from localrun.runner.messages import Event
    from localrun.supervisor.model import KeepAlive, RunnerModel
    from localrun.supervisor.runner import Sink


@dataclass(slots=True, kw_only=True, eq=False)
class PendingRequest:
    """One request; without a frame it asks for the load alone."""

    request_id: int
    model: RunnerModel
    frame: bytes | None
    sink: Sink
    client: str  # who asks, for turns that are fair
    num_ctx: int | None
    keep_alive: KeepAlive
    begun: float
    is_light: bool = False  # is answered at once, beside what runs
    pins: bool = False
    load_s: float = 0.0  # what it waited for the model
    is_cancelled: bool = False
    cancelled_for: LocalrunError | None = None  # what the client is told in place of a cancel
    context: Context = field(default_factory=copy_context)  # with the request's id, for the log

    def end(self, reason: FinishReason) -> None:
        """End a call that was given to no runner."""
        self.sink(
            Finished(
                request_id=self.request_id,
                reason=reason,
                prompt_tokens=0,
                cached_tokens=0,
                generated_tokens=0,
                queue_s=0.0,
                prompt_s=0.0,
                generation_s=0.0,
            )
        )

    def fail(self, error: LocalrunError) -> None:
        """End a call that was given to no runner by an error."""
        self.sink(self._failed(error))

    def pass_on(self, event: Event) -> None:
        """Pass an event of the runner to the sink; the end of a cancelled call tells the reason."""
        reason = self.cancelled_for
        self.sink(event if reason is None or not _is_cut(event) else self._failed(reason))

    def _failed(self, error: LocalrunError) -> Failed:
        return Failed(
            request_id=self.request_id,
            code=error.code,
            message=error.message,
            hint=error.hint,
        )


def _is_cut(event: Event) -> bool:
    """Return whether an event ends an answer before it is complete."""
    is_cancelled = isinstance(event, Finished) and event.reason is FinishReason.CANCELLED
    return is_cancelled or isinstance(event, Failed)


class FairQueue:
    """Calls that wait for a turn: the client with the fewest that run comes first.

    Among equals it is who was served longest ago, and of one client the oldest call.
    """

    def __init__(self) -> None:
        self._by_client: dict[str, deque[PendingRequest]] = {}  # the longest unserved first

    def __len__(self) -> int:
        return sum(map(len, self._by_client.values()))

    def __iter__(self) -> Iterator[PendingRequest]:
        for calls in list(self._by_client.values()):
            yield from list(calls)

    def add(self, call: PendingRequest) -> None:
        """Let a call wait."""
        self._by_client.setdefault(call.client, deque()).append(call)

    def remove(self, call: PendingRequest) -> bool:
        """Take a call out; return whether it waited."""
        calls = self._by_client.get(call.client)
        if calls is None or call not in calls:
            return False
        calls.remove(call)
        if not calls:
            del self._by_client[call.client]
        return True

    def pop(self, running: Counter[str]) -> PendingRequest:
        """Take out whose turn it is; ``running`` counts what each client has running."""
        client = min(self._by_client, key=lambda client: running[client])
        calls = self._by_client.pop(client)
        call = calls.popleft()
        if calls:
            self._by_client[client] = calls  # behind all others
        return call
