"""Progress of ``/api/pull``, ``/api/push`` and ``/api/create``, as Ollama reports it.

    {"status": "pulling manifest"}
    {"status": "pulling 0123456789ab", "digest": "sha256:...", "total": 9, "completed": 3}
    {"status": "... would draft tokens for it", "draft": {"name", "size_bytes", "is_here"}}
    {"status": "success"}

``digest`` is absent if it is unknown before the file is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.server.framing import ndjson_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.runner.messages import JsonObject
    from localrun.server.jobs import Jobs

SHORT_DIGEST = slice(7, 19)  # of "sha256:<hex>"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTexts:
    """Ollama's status texts for a kind of job."""

    first: str
    verb: str  # before the file name
    last: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job, and a function that is called in a thread after its success."""

    jobs: Jobs
    order: JsonObject
    on_success: Callable[[], None] | None = None


STATUS_TEXTS = {
    "pull": StatusTexts(
        first="pulling manifest",
        verb="pulling",
        last=("verifying sha256 digest", "writing manifest", "success"),
    ),
    "push": StatusTexts(
        first="retrieving manifest", verb="pushing", last=("pushing manifest", "success")
    ),
    "create": StatusTexts(
        first="gathering model components", verb="", last=("writing manifest", "success")
    ),
}


async def frames(job: Job) -> AsyncGenerator[JsonObject, None]:
    """Yield the objects of an answer, the first when the job has sent a message.

    Raises:
        LocalrunError: the job fails.
    """
    texts = STATUS_TEXTS[job.order["kind"]]
    async with contextlib.aclosing(job.jobs.run(job.order)) as messages:
        has_started = False
        async for message in messages:
            if not has_started:
                has_started = True
                yield {"status": texts.first}
            if "advance" in message:
                yield _progress(texts, message)
            elif "note" in message:
                draft = {"draft": message["draft"]} if "draft" in message else {}
                yield {"status": message["note"], **draft}
    if job.on_success is not None:
        await asyncio.to_thread(job.on_success)
    for status in texts.last:
        yield {"status": status}


async def lines(job: Job) -> AsyncGenerator[bytes, None]:
    """Yield the objects of an answer as lines of JSON.

    Raises:
        LocalrunError: the job fails.
    """
    async with contextlib.aclosing(frames(job)) as bodies:
        async for body in bodies:
            yield ndjson_line(body)


async def last_frame(job: Job) -> JsonObject:
    """Run a job and return the last object, for a client that does not stream."""
    frame: JsonObject = {}
    async with contextlib.aclosing(frames(job)) as bodies:
        async for frame in bodies:  # noqa: B007 - the last object is returned
            pass
    return frame


def _progress(texts: StatusTexts, message: JsonObject) -> JsonObject:
    digest: str | None = message["digest"]
    name = message["advance"] if digest is None else digest[SHORT_DIGEST]
    frame: dict[str, Any] = {"status": f"{texts.verb} {name}".strip(), "completed": message["done"]}
    if digest is not None:
        frame["digest"] = digest
    if message["total"] is not None:
        frame["total"] = message["total"]
    return frame
