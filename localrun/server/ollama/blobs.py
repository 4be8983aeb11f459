"""Uploads to ``/api/blobs/sha256:...``: files for ``/api/create``, written as they arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.middleware.unread import expect_unread
from localrun.server.ollama.recipe import parse_digest

if TYPE_CHECKING:
    from starlette.requests import Request

    from localrun.services.creating.uploads import Uploads

BATCH_BYTES = 1 << 20  # written by one call in a thread


async def receive_blob(request: Request, digest: str, uploads: Uploads) -> bool:
    """Store the body as a blob; return whether the blob is new.

    Raises:
        UsageError: the digest is malformed or not that of the body; nothing is stored.
        StorageError: the disk is full.
    """
    blob = checked_digest(digest)
    stored_bytes = await asyncio.to_thread(uploads.size, blob)
    if stored_bytes is not None:
        expect_unread(request.scope, stored_bytes)
        return False
    length = request.headers.get("content-length", "")
    size_bytes = int(length) if length.isdecimal() else None
    upload = await asyncio.to_thread(uploads.begin, blob, size_bytes)
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


def checked_digest(text: str) -> str:
    """Return the digest in a path.

    Raises:
        UsageError: it is malformed.
    """
    digest = parse_digest(text)
    if digest is None:
        raise UsageError(f"not a digest: {text[:100]}", param="digest")
    return digest
