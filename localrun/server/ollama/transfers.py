"""Routes of Ollama's API that move models: pull, push, create and blobs.

A transfer runs in a child process, and disk access in a thread: the event loop does neither.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.ollama.blobs import checked_digest, receive_blob
from localrun.server.ollama.fields import MODEL, MODEL_ROWS, STREAM
from localrun.server.ollama.progress import Job, last_frame, lines
from localrun.server.ollama.recipe import FILES, RECIPE, recipe_order
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.parsing.table import Table, flag
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.runner.messages import JsonObject
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.server.jobs import Jobs
    from localrun.server.parsing.fields import Fields
    from localrun.services.creating.uploads import Uploads

CREATED = 201
MISSING = 404


def transfer_routes(jobs: Jobs, uploads: Uploads, names: LoadedNames) -> Routes:
    """Return the router."""
    router = Routes("/api")

    def release(blobs: Iterable[str]) -> None:
        uploads.release(blobs)
        names.settle()  # the name may belong to a loaded model

    @router.post("/pull")
    async def pull(request: Request) -> Response:
        return await _run_job(request, "pull", jobs)

    @router.post("/push")
    async def push(request: Request) -> Response:
        return await _run_job(request, "push", jobs)

    @router.post("/create")
    async def create(request: Request) -> Response:
        return await _run_job(request, "create", jobs, release)

    @router.head("/blobs/{digest}")
    async def has_blob(digest: str) -> Response:
        is_here = await asyncio.to_thread(uploads.has, checked_digest(digest))
        return Response(status_code=200 if is_here else MISSING)

    @router.post("/blobs/{digest}")
    async def upload(request: Request, digest: str) -> Response:
        is_new = await receive_blob(request, digest, uploads)
        return Response(status_code=CREATED if is_new else 200)

    return router


async def _run_job(
    request: Request,
    kind: str,
    jobs: Jobs,
    release: Callable[[Iterable[str]], None] | None = None,
) -> Response:
    """Respond with the progress of a job; ``release`` is called with the blobs of the new model."""
    order, streams = await read(request, lambda fields: transfer_order(kind, fields))
    on_success = None if release is None else partial(release, order["blobs"])
    job = Job(jobs=jobs, order=order, on_success=on_success)
    if streams:
        return await streamed(request, lines(job))
    return JSONResponse(await unless_disconnected(request, last_frame(job)))


def transfer_order(kind: str, fields: Fields) -> tuple[JsonObject, bool]:
    """Return the job of a request to pull, push or create, and whether its answer is streamed.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    is_create = kind == "create"
    values = (CREATED_MODEL if is_create else TRANSFER).read(fields)
    order: JsonObject = {"kind": kind, "name": values[MODEL]}
    order |= recipe_order(fields) if is_create else {"is_insecure": bool(values[_INSECURE])}
    return order, values[STREAM] is not False


_INSECURE = flag("insecure")
CREATED_MODEL = Table((*MODEL_ROWS, STREAM))
TRANSFER = Table((*CREATED_MODEL.rows, _INSECURE))
CREATE = Table((*CREATED_MODEL.rows, *FILES.rows, *RECIPE.rows), component="CreateRequest")
