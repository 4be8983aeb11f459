"""Run a job in a child process of our own program (``services/jobs.py``) and hear what it tells.

The child lives as long as its stdin: closing that is how a job is cancelled, and how it
notices that the server is gone. A thread for each job reads what it tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, OverloadedError, error_named
from localrun.program import program_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from localrun.server.parsing.fields import JsonObject
    from localrun.services.workspace import Workspace

    Child = subprocess.Popen[bytes]

MOST_JOBS = 16
GRACE_S = 5.0  # more than the child gives itself


class Jobs:
    """The jobs of one server."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._num_running = 0

    async def run(self, order: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """Yield what the job tells, the result last; closing the generator cancels the job.

        Raises:
            LocalrunError: as the job fails; or too many run already.
        """
        if self._num_running >= MOST_JOBS:
            raise OverloadedError(f"{MOST_JOBS} models are pulled, pushed or created already")
        self._num_running += 1
        told: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(message: JsonObject | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(told.put_nowait, message)

        job = _Job(self._environ, tell)
        try:
            await asyncio.to_thread(job.start, order)
            while (message := await told.get()) is not None:
                if "failed" in message:
                    failed = message["failed"]
                    raise error_named(failed["code"], failed["message"], hint=failed["hint"])
                yield message
                if "result" in message:
                    return
        finally:
            self._num_running -= 1
            job.end()
        raise LocalrunError("the work ended in the middle, see the server's log")


def job_environ(workspace: Workspace) -> dict[str, str]:
    """Return the environment in which a job works on the same store as this server."""
    models_dir = str(workspace.settings.models_dir)
    return {**workspace.environ, "LOCALRUN_MODELS": models_dir}


class _Job:
    """One child; ``tell`` gets each of its messages from a thread, then None."""

    def __init__(
        self, environ: Mapping[str, str], tell: Callable[[JsonObject | None], None]
    ) -> None:
        self._environ = environ
        self._tell = tell
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._has_ended = False

    def start(self, order: JsonObject) -> None:
        """Start the child, unless nobody wants it any more; blocks a little."""
        with self._lock:
            if self._has_ended:
                return
            child = self._child = _spawn(self._environ)
        threading.Thread(target=self._read, args=(child,), name="job", daemon=True).start()
        if child.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended: its reader tells
                child.stdin.write(json.dumps(order).encode() + b"\n")
                child.stdin.flush()

    def end(self) -> None:
        """Let the child go; returns at once, for its client need not wait."""
        threading.Thread(target=self._end, name="job-end", daemon=True).start()

    def _read(self, child: Child) -> None:
        try:
            with child.stdout or contextlib.nullcontext(()) as lines:
                for line in lines:
                    self._tell(json.loads(line))
        finally:
            self._tell(None)

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


def _spawn(environ: Mapping[str, str]) -> Child:
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*program_command(), "job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            start_new_session=True,  # a Ctrl-C is the server's to handle
        )
    except OSError as error:
        raise LocalrunError(f"a job cannot be started: {error.strerror}") from error
