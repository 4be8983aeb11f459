"""Deterministic threads: one runs at a time, and a seed chooses which one runs next.

`Scheduler.threading` replaces the module `threading` in the modules under test. A thread can be
preempted where it enters a condition, where it waits, and where a test calls `pause`: between two
such points it runs alone. The clock moves only when no thread can run and one waits for a time.
The test's own thread is one of them; a wait of it runs the others.
"""

from __future__ import annotations

import random
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PREEMPTIONS = 3  # of the test's thread where it enters a condition
NEVER = float("inf")


class StoppedError(BaseException):
    """Ends a thread of a scheduler that was stopped."""


class Task:
    """One thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Semaphore(0)
        self.is_ready: Callable[[], bool] = lambda: True
        self.deadline = NEVER
        self.has_ended = False


class Scheduler:
    """Runs tasks one at a time; created by the thread of the test."""

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.errors: list[BaseException] = []
        self._random = random.Random(seed)  # noqa: S311 - chooses threads
        self._main = Task("test")
        self._current = self._main
        self.tasks: list[Task] = []
        self._is_stopped = False
        self.threading = SimpleNamespace(
            Condition=lambda: Condition(self),
            Thread=lambda **options: Thread(self, **options),
            Lock=threading.Lock,  # never held while a thread pauses
            Event=threading.Event,
        )

    @property
    def current(self) -> Task:
        return self._current

    def clock(self) -> float:
        return self.now

    def pause(self, is_ready: Callable[[], bool] = lambda: True, deadline: float = NEVER) -> None:
        """Let other threads run until ``is_ready`` or the deadline."""
        task = self._current
        task.is_ready, task.deadline = is_ready, deadline
        if task is self._main:
            self._run_others(task)
            return
        self._main.turn.release()
        task.turn.acquire()
        if self._is_stopped:
            raise StoppedError

    def step(self) -> bool:
        """Run one thread to its next pause; return whether one could run."""
        runnable = [task for task in self.tasks if self._can_run(task)]
        if runnable:
            task = self._random.choice(runnable)
            self._current = task
            task.turn.release()
            assert self._main.turn.acquire(timeout=HANG_S), f"{task.name} hangs"
            self._current = self._main
            self.tasks = [task for task in self.tasks if not task.has_ended]
        return bool(runnable)

    def run_until_idle(self) -> None:
        """Run threads until all wait."""
        while self.step():
            pass

    def require(self, is_true: object, problem: str) -> None:
        """Record a failure, also in a thread whose exceptions are caught."""
        if not is_true:
            self.errors.append(AssertionError(problem))

    def raise_errors(self) -> None:
        for error in self.errors:
            raise error

    def start(self, target: Callable[[], None], name: str) -> Task:
        task = Task(name)

        def run() -> None:
            task.turn.acquire()
            try:
                if not self._is_stopped:
                    target()
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again by the test
                self.errors.append(error)
            task.has_ended = True
            self._main.turn.release()

        threading.Thread(target=run, name=name, daemon=True).start()
        self.tasks.append(task)
        return task

    def stop(self) -> None:
        """End all threads where they are."""
        self._is_stopped = True
        for task in self.tasks:
            self._current = task
            while not task.has_ended:
                task.turn.release()
                assert self._main.turn.acquire(timeout=HANG_S), f"{task.name} hangs"

    def _can_run(self, task: Task) -> bool:
        return task.is_ready() or task.deadline <= self.now

    def _run_others(self, task: Task) -> None:
        for _ in range(self._random.randrange(MAX_PREEMPTIONS)):
            self.step()
        while not self._can_run(task):
            if not self.step():
                self._advance()

    def _advance(self) -> None:
        deadline = min(task.deadline for task in (*self.tasks, self._main))
        assert deadline < NEVER, "deadlock: " + ", ".join(task.name for task in self.tasks)
        self.now = deadline


class Condition:
    """A reentrant `threading.Condition`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: Task | None = None
        self._depth = 0
        self._waiting: list[Task] = []

    def __enter__(self) -> Self:
        if self._owner is not self._scheduler.current:
            self._scheduler.pause(lambda: self._owner is None)
            self._owner = self._scheduler.current
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None

    def notify_all(self) -> None:
        assert self._owner is self._scheduler.current
        self._waiting.clear()

    def wait(self, timeout: float | None = None) -> bool:
        me, depth = self._scheduler.current, self._depth
        assert self._owner is me
        self._waiting.append(me)
        deadline = NEVER if timeout is None else self._scheduler.now + timeout
        self._owner, self._depth = None, 0
        self._scheduler.pause(lambda: me not in self._waiting, deadline)
        was_notified = me not in self._waiting
        if not was_notified:
            self._waiting.remove(me)
        self._scheduler.pause(lambda: self._owner is None)
        self._owner, self._depth = me, depth
        return was_notified

    def wait_for(self, is_true: Callable[[], bool], timeout: float | None = None) -> bool:
        deadline = NEVER if timeout is None else self._scheduler.now + timeout
        while not is_true() and self._scheduler.now < deadline:
            self.wait(None if deadline == NEVER else deadline - self._scheduler.now)
        return is_true()


class Thread:
    """A `threading.Thread`."""

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        target: Callable[..., None],
        name: str = "thread",
        kwargs: dict[str, object] | None = None,
        daemon: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._run = lambda: target(**(kwargs or {}))
        self._name = name
        self._task: Task | None = None
        self.daemon = daemon

    def start(self) -> None:
        self._task = self._scheduler.start(self._run, self._name)

    def join(self) -> None:
        task = self._task
        assert task is not None
        self._scheduler.pause(lambda: task.has_ended)
