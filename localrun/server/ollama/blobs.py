"""``/api/blobs/sha256:...``: files for ``/api/create``, written as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.middleware.unread import expect_unread
from localrun.server.ollama.recipe import parse_digest

if TYPE_CHECKING:
    from starlette.requests import Request

    from localrun.services.creating.uploads import Uploads

BATCH_BYTES = 1 << 20  # a thread takes this much at a time


async def receive_blob(request: Request, digest: str, uploads: Uploads) -> bool:
    """Take the body as a blob; return whether it was new.

    Raises:
        UsageError: the digest is none, or not that of the body; nothing is kept.
        StorageError: the disk is full.
    """
    wanted = known_digest(digest)
    known_bytes = await asyncio.to_thread(uploads.size, wanted)
    if known_bytes is not None:
        expect_unread(request.scope, known_bytes)
        return False
    length = request.headers.get("content-length", "")
    size_bytes = int(length) if length.isdecimal() else None
    upload = await asyncio.to_thread(uploads.begin, wanted, size_bytes)
    try:
        batch = bytearray()
        async for chunk in request.stream():
            batch += chunk
            if len(batch) >= BATCH_BYTES:
                await asyncio.to_thread(upload.write, bytes(batch))
                batch.clear()
        await asyncio.to_thread(upload.write, bytes(batch))
        await asyncio.to_thread(upload.finish)
    finally:
        await asyncio.to_thread(upload.close)
    return True


def known_digest(text: str) -> str:
    """Return a digest from a path.

    Raises:
        UsageError: it is none.
    """
    digest = parse_digest(text)
    if digest is None:
        raise UsageError(f"not a digest: {text[:100]}", param="digest")
    return digest
