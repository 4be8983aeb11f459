"""Run a job in a child process of our own program (``services/jobs.py``) and hear what it tells.

The child lives as long as its stdin: closing that is how a job is cancelled, and how it
notices that the server is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, OverloadedError, error_named
from localrun.program import program_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from localrun.server.fields import JsonObject
    from localrun.services.workspace import Workspace

MOST_JOBS = 16
LONGEST_LINE = 1 << 20
GRACE_S = 5.0  # more than the child gives itself


class Jobs:
    """The jobs of one server."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._num_running = 0
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, order: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """Yield what the job tells, the result last; closing the generator cancels the job.

        Raises:
            LocalrunError: as the job fails; or too many run already.
        """
        if self._num_running >= MOST_JOBS:
            raise OverloadedError(f"{MOST_JOBS} models are pulled, pushed or created already")
        self._num_running += 1
        child = None
        try:
            child = await self._start(order)
            async for message in _messages(child):
                yield message
        finally:
            self._num_running -= 1
            if child is not None:
                self._end(child)

    async def _start(self, order: JsonObject) -> Process:
        try:
            child = await asyncio.create_subprocess_exec(
                *program_command(),
                "job",
                stdin=PIPE,
                stdout=PIPE,
                env=self._environ,
                limit=LONGEST_LINE,
                start_new_session=True,  # a Ctrl-C is the server's to handle
            )
        except OSError as error:
            raise LocalrunError(f"a job cannot be started: {error.strerror}") from error
        if child.stdin is not None:
            child.stdin.write(json.dumps(order).encode() + b"\n")
        return child

    def _end(self, child: Process) -> None:
        """Let the child go, in the background: its client need not wait."""
        task = asyncio.create_task(_ended(child))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def job_environ(workspace: Workspace) -> dict[str, str]:
    """Return the environment in which a job works on the same store as this server."""
    models_dir = str(workspace.settings.models_dir)
    return {**workspace.environ, "LOCALRUN_MODELS": models_dir}


async def _messages(child: Process) -> AsyncGenerator[JsonObject, None]:
    """Yield the child's messages to the result.

    Raises:
        LocalrunError: it failed, or ended without a result.
    """
    if child.stdout is None:
        return
    async for line in child.stdout:
        message = json.loads(line)
        if "failed" in message:
            failed = message["failed"]
            raise error_named(failed["code"], failed["message"], hint=failed["hint"])
        yield message
        if "result" in message:
            return
    status = await child.wait()
    raise LocalrunError(f"the work ended in the middle, with status {status}: see the log")


async def _ended(child: Process) -> None:
    """Close the child's stdin and wait until it is gone, by force at last."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), GRACE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
