"""Upload of a file: a form whose parts are written to disk while they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from starlette.datastructures import UploadFile

from localrun.errors import BodyTooLargeError, UsageError
from localrun.server.parsing.forms import FILE, parse_form

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
LONGEST_NAME = 255
PURPOSES = ("batch",)
SHORTEST_S, LONGEST_S = 3600, 30 * 86400  # of a file's life, as OpenAI bounds it


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """An uploaded file, open until the form is closed."""

    form: FormData
    file: BinaryIO
    filename: str
    purpose: str
    expires_after_s: int | None


async def read_upload(request: Request) -> UploadedFile:
    """Return the file of a request; the caller closes its form.

    Raises:
        UsageError: the form is not one, or a field of it is wrong.
        BodyTooLargeError: the file is too large.
    """
    form = await parse_form(
        request,
        _bounded(request),
        content="a file",
        max_fields=MAX_FIELDS,
        max_field_bytes=MAX_FIELD_BYTES,
    )
    try:
        return _upload(form)
    except BaseException:
        await form.close()
        raise


def _upload(form: FormData) -> UploadedFile:
    file = form.get(FILE)
    if not isinstance(file, UploadFile):
        raise UsageError(f"{FILE} is missing", param=FILE)
    purpose = form.get("purpose")
    if purpose not in PURPOSES:
        raise UsageError(f"purpose must be {' or '.join(PURPOSES)}", param="purpose")
    return UploadedFile(
        form=form,
        file=file.file,
        filename=(file.filename or "file.jsonl")[:LONGEST_NAME],
        purpose=str(purpose),
        expires_after_s=_expiry(form),
    )


def _expiry(form: FormData) -> int | None:
    """Return for how many seconds the file is kept, None if for ever."""
    seconds, anchor = form.get("expires_after[seconds]"), form.get("expires_after[anchor]")
    if seconds is None:
        return None
    if anchor not in {None, "created_at"}:
        raise UsageError("expires_after[anchor] must be created_at", param="expires_after[anchor]")
    is_number = isinstance(seconds, str) and seconds.isascii() and seconds.isdigit()
    number = int(str(seconds)[:LONGEST_NAME]) if is_number else 0
    if not SHORTEST_S <= number <= LONGEST_S:
        message = f"expires_after[seconds] must be between {SHORTEST_S} and {LONGEST_S}"
        raise UsageError(message, param="expires_after[seconds]")
    return number


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    num_bytes = 0
    async for piece in request.stream():
        num_bytes += len(piece)
        if num_bytes > MAX_FILE_BYTES:
            raise BodyTooLargeError(f"the file has more than {MAX_FILE_BYTES // 2**20} MiB")
        yield piece
