"""Loads and unloads of one slot's runner, and the context that all slots of a pool share.

Runs in the slot's worker thread. A load that fails for want of memory is tried once more, smaller.
A load is aborted when no request waits for it. Knows nothing of how actions are chosen.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, LoadError, LocalrunError
from localrun.gguf.header import read_header
from localrun.supervisor.runner import Runner
from localrun.supervisor.slots.contents import SlotLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Load
    from localrun.supervisor.health import CrashBackoff
    from localrun.supervisor.load_queue import LoadQueue
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.projector_failures import ProjectorFailures
    from localrun.supervisor.reservations import Reservation
    from localrun.supervisor.runner_process import StartProcess
    from localrun.supervisor.slots.request_queue import PendingRequest
    from localrun.supervisor.slots.state import SlotState
    from localrun.supervisor.worker_offers import ServerWorkers, WorkerOffers

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolContext:
    """What all slots of a pool share; each part has its own lock."""

    start_process: StartProcess
    clock: Callable[[], float]
    load_queue: LoadQueue
    crashes: CrashBackoff
    projectors: ProjectorFailures
    count_load: Callable[[str], None]  # called with the name after each load
    on_action: Callable[[], None]  # called before each action of a worker
    workers: ServerWorkers


class _LoadAbortedError(Exception):
    """The runner was closed while it loaded; requests that came since get another load."""


class ModelLoader:
    """Loads and unloads the runner of one slot."""

    def __init__(self, state: SlotState, context: PoolContext) -> None:
        self._state = state
        self._context = context

    def load(self) -> None:
        """Load for all requests that wait, in place of the present runner."""
        state, offers = self._state, self._context.workers.offers()
        requests: list[PendingRequest] = []
        try:
            self.unload()
            requests = state.waiting_requests()
            if requests:
                num_ctx = max(request.num_ctx or 0 for request in requests) or None
                self._load_for(requests[0], num_ctx, offers)
        except _LoadAbortedError:
            _log.info("the load of %s was aborted", state.loading_name)
        except LocalrunError as error:
            self._fail(requests, error)
        except OSError as error:  # such as: too many open files
            reason = error.strerror or error
            self._fail(requests, LoadError(f"a runner cannot be started: {reason}"))
        finally:
            state.end_load()
            offers.end()

    def unload(self) -> None:
        """End the runner, if any."""
        runner = self._state.runner
        if runner is not None:
            _log.info("unloading %s", self._state.loading_name)
            runner.close()
        self._state.unloaded()
        self._context.load_queue.notify_freed()

    def reap(self) -> None:
        """Clean up after a runner that has ended by itself."""
        state = self._state
        runner = state.runner
        if runner is not None and runner.has_crashed:
            self._context.crashes.record(state.key, state.loading_name, runner.exit_reason())
            self._record_projector(runner)
        self.unload()

    def _load_for(self, first: PendingRequest, num_ctx: int | None, offers: WorkerOffers) -> None:
        context, state = self._context, self._state
        context.crashes.check(state.key)
        reservation = context.load_queue.reserve(state, first.model, num_ctx, offers)
        if reservation is None:
            return  # no request waits any more
        with reservation:
            self._load_reserved(reservation, first)
        context.count_load(first.model.name)

    def _load_reserved(self, reservation: Reservation, first: PendingRequest) -> None:
        name = first.model.name
        first.context.run(_log.info, "loading %s", name)
        plan, cache_note = reservation.planned.plan, reservation.planned.cache_note
        if cache_note:
            _log.warning("%s keeps a KV cache of f16: %s", name, cache_note)
        if plan is not None and not plan.fits:
            _log.warning("%s may not fit: %s", name, "; ".join(plan.advice))
        started_at = self._context.clock()
        try:
            self._run(reservation, first, started_at)
        except LoadError as error:
            if not (reservation.shrink(error) and self._state.is_wanted):
                raise
            self._run(reservation, first, started_at)

    def _run(self, reservation: Reservation, first: PendingRequest, started_at: float) -> None:
        state, planned = self._state, reservation.planned
        workers = reservation.offers.take(planned.load.workers)
        try:
            runner = Runner(self._context.start_process, state.notify, workers)
        except BaseException:
            workers.end()
            raise
        if not state.begin_runner(runner, first.model.name):
            runner.close(grace_s=0.0)
        try:
            ready = runner.load(self._without_failed(planned.load, first), state.set_progress)
        except BaseException as error:
            self._drop(runner, error)
            if runner.was_load_aborted:
                raise _LoadAbortedError from error
            if isinstance(error, LoadError):
                raise named_error(error, first.model) from error
            raise
        ready_at = self._context.clock()
        state.complete_load(
            SlotLoad(
                ready=ready,
                planned=planned,
                model=first.model,
                num_ctx=max(reservation.num_ctx or 0, ready.num_ctx),
                ready_at=ready_at,
                load_s=ready_at - started_at,
            )
        )

    def _drop(self, runner: Runner, error: BaseException) -> None:
        state = self._state
        state.drop_runner()
        if runner.has_crashed and not runner.was_load_aborted:
            self._context.crashes.record(state.key, state.loading_name, str(error))
            self._record_projector(runner)

    def _without_failed(self, load: Load, first: PendingRequest) -> Load:
        """Return the load, without a projector that ended a runner before: text still works."""
        path = load.projector_path
        reason = self._context.projectors.reason(Path(path)) if path else None
        if reason is None:
            return load
        name = first.model.name
        problem = f"the projector of {name} ended its runner before ({reason}), and is not used"
        is_stored = first.model.projector_digest != ""
        hint = f"localrun verify{f' {name}' if is_stored else ''}   checks files and tries it again"
        return replace(load, projector_path=None, projector_problem=problem, projector_hint=hint)

    def _record_projector(self, runner: Runner) -> None:
        path = runner.failed_projector
        if path is not None:
            self._context.projectors.add(Path(path), runner.exit_reason())

    def _fail(self, requests: list[PendingRequest], error: LocalrunError) -> None:
        draft = requests[0].model.draft if requests else ()
        for request in self._state.fail_load(draft):
            request.fail(error)


def named_error(error: LoadError, model: RunnerModel) -> LoadError:
    """Return an error that names the model in place of its file, whose name is a digest."""
    file = model.shards[0].name
    if not error.message.startswith(f"{file} "):
        return error
    hint = error.hint or _layout_hint(model)
    return LoadError(model.name + error.message.removeprefix(file), hint=hint)


def _layout_hint(model: RunnerModel) -> str | None:
    """Return what to type if a file is in the layout of Ollama's old engine, else None."""
    from localrun.translation.rules import rules_for  # after a failure only

    if len(model.shards) != 1:
        return None
    try:
        header = read_header(model.shards[0], array_ends=dict(model.array_ends))
    except (IntegrityError, OSError):
        return None
    if rules_for(header) is None:
        return None
    return f"localrun show {model.name}   says how to translate it from Ollama's old layout"
