"""Jobs: child processes that pull, push and create models for clients (``services/jobs.py``).

A child exits when its stdin closes: the server closes it to cancel the job, and the system closes
it if the server dies. One thread per job reads its messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, OverloadedError, error_named
from localrun.warm.child import start_child

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from localrun.runner.messages import JsonObject
    from localrun.services.workspace import Workspace
    from localrun.warm.child import Child

MAX_JOBS = 16
GRACE_S = 5.0  # until a cancelled child is killed; longer than its own grace period


class Jobs:
    """Jobs of one server; used on its event loop."""

    def __init__(
        self,
        environ: Mapping[str, str],
        warm: str | None = None,
        *,
        busy: str = "models are pulled, pushed or created",
    ) -> None:
        """``busy`` says what too many jobs do."""
        self._busy = busy
        self._environ = dict(environ)
        self._warm = warm  # the socket of the warm process
        self._num_running = 0

    async def run(self, order: JsonObject, file: bytes = b"") -> AsyncGenerator[JsonObject, None]:
        """Run a job and yield its messages, the result last; closing the generator cancels it.

        The job reads ``file`` behind the order.

        Raises:
            OverloadedError: `MAX_JOBS` jobs run already.
            LocalrunError: the job fails.
        """
        if self._num_running >= MAX_JOBS:
            raise OverloadedError(f"{MAX_JOBS} {self._busy} already")
        self._num_running += 1
        messages: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def on_message(message: JsonObject | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(messages.put_nowait, message)

        job = _Job(self._environ, on_message, self._warm)
        try:
            await asyncio.to_thread(job.start, order, file)
            while (message := await messages.get()) is not None:
                if "failed" in message:
                    failed = message["failed"]
                    raise error_named(failed["code"], failed["message"], hint=failed["hint"])
                yield message
                if "result" in message:
                    return
        finally:
            self._num_running -= 1
            job.end()
        raise LocalrunError("the job ended without a result, see the server's log")


def job_environ(workspace: Workspace) -> dict[str, str]:
    """Return the environment of jobs, which use the store and the draft model of this server."""
    settings = workspace.settings
    own = {"LOCALRUN_MODELS": str(settings.models_dir), "LOCALRUN_DRAFT": settings.draft}
    return {**workspace.environ, **own}


class _Job:
    """One child process; a thread calls ``on_message`` with each of its messages, then None."""

    def __init__(
        self,
        environ: Mapping[str, str],
        on_message: Callable[[JsonObject | None], None],
        warm: str | None,
    ) -> None:
        self._environ = environ
        self._warm = warm
        self._on_message = on_message
        self._lock = threading.Lock()  # guards the two below; held while the child is spawned
        self._child: Child | None = None
        self._has_ended = False

    def start(self, order: JsonObject, file: bytes) -> None:
        """Start the child unless the job was cancelled already; blocks until it has the order."""
        with self._lock:
            if self._has_ended:
                return
            child = self._child = _start(self._environ, self._warm)
        threading.Thread(target=self._read, args=(child,), name="job", daemon=True).start()
        if child.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has exited: `_read` reports it
                line = json.dumps({**order, "num_bytes": len(file)}).encode()
                child.stdin.write(line + b"\n")
                child.stdin.write(file)
                child.stdin.flush()

    def end(self) -> None:
        """Cancel the job; returns at once, a thread waits for the child."""
        threading.Thread(target=self._end, name="job-end", daemon=True).start()

    def _read(self, child: Child) -> None:
        try:
            with child.stdout or contextlib.nullcontext(()) as lines:
                for line in lines:
                    self._on_message(json.loads(line))
        finally:
            self._on_message(None)

    def _end(self) -> None:
        with self._lock:
            self._has_ended, child = True, self._child
        if child is None:
            return
        with contextlib.suppress(OSError):
            if child.stdin is not None:
                child.stdin.close()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _start(environ: Mapping[str, str], warm: str | None) -> Child:
    try:
        return start_child(["job"], environ, warm=warm)
    except OSError as error:
        raise LocalrunError(f"a job cannot be started: {error.strerror}") from error
