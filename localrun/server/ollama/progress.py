"""``/api/pull``, ``/api/push`` and ``/api/create``: what a job tells, in Ollama's words.

    {"status": "pulling manifest"}
    {"status": "pulling 0123456789ab", "digest": "sha256:...", "total": 9, "completed": 3}
    {"status": "success"}

The digest is left out where nobody knows it before the file is here.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.server.framing import ndjson_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.server.jobs import Jobs
    from localrun.server.parsing.fields import JsonObject

SHORT_DIGEST = slice(7, 19)  # of "sha256:<hex>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What Ollama says in the course of a kind of work."""

    first: str
    verb: str  # before what is worked on; none where that tells it
    last: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job, and what is done once it has succeeded (in a thread)."""

    jobs: Jobs
    order: JsonObject
    and_then: Callable[[], None] | None = None


WORDS = {
    "pull": Words(
        first="pulling manifest",
        verb="pulling",
        last=("verifying sha256 digest", "writing manifest", "success"),
    ),
    "push": Words(
        first="retrieving manifest", verb="pushing", last=("pushing manifest", "success")
    ),
    "create": Words(
        first="gathering model components", verb="", last=("writing manifest", "success")
    ),
}


async def frames(work: Work) -> AsyncGenerator[JsonObject, None]:
    """Yield the objects of an answer; the first only when the job is under way.

    Raises:
        LocalrunError: as the job.
    """
    words = WORDS[work.order["kind"]]
    async with contextlib.aclosing(work.jobs.run(work.order)) as messages:
        has_begun = False
        async for message in messages:
            if not has_begun:
                has_begun = True
                yield {"status": words.first}
            if "advance" in message:
                yield _progress(words, message)
            elif "note" in message:
                yield {"status": message["note"]}
    if work.and_then is not None:
        await asyncio.to_thread(work.and_then)
    for status in words.last:
        yield {"status": status}


async def lines(work: Work) -> AsyncGenerator[bytes, None]:
    """Yield the objects of an answer as lines of JSON.

    Raises:
        LocalrunError: as the job.
    """
    async with contextlib.aclosing(frames(work)) as bodies:
        async for body in bodies:
            yield ndjson_line(body)


async def last_frame(work: Work) -> JsonObject:
    """Return the end of the work alone, for a client that does not want to hear more."""
    frame: JsonObject = {}
    async with contextlib.aclosing(frames(work)) as told:
        async for frame in told:  # noqa: B007 - the last one counts
            pass
    return frame


def _progress(words: Words, message: JsonObject) -> JsonObject:
    digest: str | None = message["digest"]
    name = message["advance"] if digest is None else digest[SHORT_DIGEST]
    frame: dict[str, Any] = {"status": f"{words.verb} {name}".strip(), "completed": message["done"]}
    if digest is not None:
        frame["digest"] = digest
    if message["total"] is not None:
        frame["total"] = message["total"]
    return frame
