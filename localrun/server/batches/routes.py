"""Routes of ``/v1/files`` and ``/v1/batches``, as OpenAI's clients use them.

A server without API keys serves them to this machine alone, and one with keys shows each key its
own files and batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from localrun.errors import NotFoundError, UsageError
from localrun.server.batches.batch import BatchRecord
from localrun.server.batches.fields import BATCH, batch_of
from localrun.server.batches.upload import read_upload
from localrun.server.chats.privacy import refuse_others
from localrun.server.core.client import current_client
from localrun.server.parsing.requests import read
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.server.batches.files import FileRecord
    from localrun.server.batches.service import BatchService

MAX_FILES, MAX_BATCHES = 10_000, 100  # of a page
LONGEST_NUMBER = 6  # digits


def batch_routes(open_service: Callable[[], BatchService]) -> Routes:
    """Return the router; ``open_service`` is called on the event loop."""
    router = Routes("/v1")
    _declare_files(router, open_service)
    _declare_batches(router, open_service)
    return router


def _declare_files(router: Routes, open_service: Callable[[], BatchService]) -> None:
    @router.post("/files")
    async def upload_file(request: Request) -> JSONResponse:
        owner = _owner(request)
        upload = await read_upload(request)
        try:
            record = await asyncio.to_thread(
                open_service().files.add,
                upload.file,
                filename=upload.filename,
                purpose=upload.purpose,
                owner=owner,
                expires_after_s=upload.expires_after_s,
            )
        finally:
            await upload.form.close()
        return JSONResponse(record.to_json())

    @router.get("/files")
    async def list_files(
        request: Request, purpose: str = "", limit: str = "", after: str = "", order: str = "desc"
    ) -> JSONResponse:
        files = open_service().files
        found = await asyncio.to_thread(files.owned_by, _owner(request), purpose or None)
        if order not in {"asc", "desc"}:
            raise UsageError("order must be asc or desc", param="order")
        records = found if order == "desc" else found[::-1]
        return JSONResponse(_page(records, after, _limit(limit, MAX_FILES, MAX_FILES)))

    @router.get("/files/{file_id}")
    async def show_file(request: Request, file_id: str) -> JSONResponse:
        return JSONResponse((await _file(request, file_id)).to_json())

    @router.get("/files/{file_id}/content")
    async def read_file(request: Request, file_id: str) -> FileResponse:
        record = await _file(request, file_id)
        path = open_service().files.content(record)
        return FileResponse(path, media_type="application/jsonl")

    @router.delete("/files/{file_id}")
    async def delete_file(request: Request, file_id: str) -> JSONResponse:
        record, service = await _file(request, file_id), open_service()
        await asyncio.to_thread(_refuse_if_used, service, record)
        await asyncio.to_thread(service.files.remove, record)
        return JSONResponse({"id": record.id, "object": "file", "deleted": True})

    async def _file(request: Request, file_id: str) -> FileRecord:
        return await asyncio.to_thread(open_service().files.find, file_id, _owner(request))


def _declare_batches(router: Routes, open_service: Callable[[], BatchService]) -> None:
    @router.post("/batches")
    async def create_batch(request: Request) -> JSONResponse:
        owner, service = _owner(request), open_service()
        values = await read(request, BATCH.read)
        batch = batch_of(values, service.batches.new_id(), owner=owner, now=int(time.time()))
        await asyncio.to_thread(_check_file, service, batch)
        await asyncio.to_thread(service.batches.write, batch)
        service.start()
        return JSONResponse(batch.to_json())

    @router.get("/batches")
    async def list_batches(request: Request, limit: str = "", after: str = "") -> JSONResponse:
        service = open_service()
        found = await asyncio.to_thread(service.batches.owned_by, _owner(request))
        records = [service.current(batch) for batch in found]
        return JSONResponse(_page(records, after, _limit(limit, 20, MAX_BATCHES)))

    @router.get("/batches/{batch_id}")
    async def show_batch(request: Request, batch_id: str) -> JSONResponse:
        service = open_service()
        batch = await asyncio.to_thread(service.batches.find, batch_id, _owner(request))
        return JSONResponse(service.current(batch).to_json())

    @router.post("/batches/{batch_id}/cancel")
    async def cancel_batch(request: Request, batch_id: str) -> JSONResponse:
        service = open_service()
        batch = await asyncio.to_thread(service.batches.find, batch_id, _owner(request))
        return JSONResponse((await service.cancel(batch)).to_json())


def _owner(request: Request) -> str:
    """Return the owner of what a request creates, "" without API keys.

    Raises:
        HTTPException: the request is of another machine or web page, and has no API key.
    """
    refuse_others(request.scope)
    return current_client() if request.scope["state"].get("has_api_key") else ""


def _refuse_if_used(service: BatchService, record: FileRecord) -> None:
    """Refuse to delete the input of an open batch.

    Raises:
        UsageError: the file is one.
    """
    for batch in service.batches.owned_by(record.owner):
        if batch.status.is_open and batch.input_file_id == record.id:
            raise UsageError(
                f"{record.id} is the input of {batch.id}, which is not complete",
                hint=f"POST /v1/batches/{batch.id}/cancel",
            )


def _check_file(service: BatchService, batch: BatchRecord) -> None:
    """Refuse a batch without an input file.

    Raises:
        UsageError: there is no such file.
    """
    try:
        service.files.find(batch.input_file_id, batch.owner)
    except NotFoundError as error:
        raise UsageError(error.message, hint=error.hint, param="input_file_id") from error


def _limit(text: str, default: int, most: int) -> int:
    if not text:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    if not is_number or not 0 < int(text) <= most:
        raise UsageError(f"limit must be a number from 1 to {most}", param="limit")
    return int(text)


def _page(records: Sequence[Any], after: str, limit: int) -> dict[str, Any]:
    """Return the records behind the one with the id ``after``, as OpenAI's list object."""
    ids = [record.id for record in records]
    if after and after not in ids:
        raise UsageError(f"after: there is no {after[:80]!r} in this list", param="after")
    start = ids.index(after) + 1 if after else 0
    page = records[start : start + limit]
    return {
        "object": "list",
        "data": [record.to_json() for record in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(records),
    }
