"""Images of kept messages: their bytes as the model gets them, in a table of their own.

A list of messages has the number of images of each, and never the bytes. The media that a model
takes along with a message are all called images, as in ``/api/chat``: sounds and PDF files too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MAX_IMAGES = 256  # of a message
MAX_MESSAGE_BYTES = 22 * 1024 * 1024  # of all images of a message; a request's body has no more
MAX_CHAT_BYTES = 128 * 1024 * 1024  # of all images of a chat: an export has them in memory
NUM_IMAGES = "(SELECT COUNT(*) FROM images WHERE message = messages.id)"


def insert_images(
    database: sqlite3.Connection, chat_id: str, message_id: int, images: Sequence[bytes]
) -> None:
    """Insert the images of a message.

    Raises:
        UsageError: there are too many, or too large ones.
    """
    if not images:
        return
    size_bytes = sum(map(len, images))
    if len(images) > MAX_IMAGES or size_bytes > MAX_MESSAGE_BYTES:
        most = f"{MAX_IMAGES} images of {_mib(MAX_MESSAGE_BYTES)}"
        raise UsageError(f"a kept message has at most {most}")
    if size_bytes + _size_of_chat(database, chat_id) > MAX_CHAT_BYTES:
        raise UsageError(
            f"the images of a kept chat have more than {_mib(MAX_CHAT_BYTES)}",
            hint="begin a new chat",
        )
    rows = [(message_id, place, image) for place, image in enumerate(images)]
    database.executemany("INSERT INTO images VALUES (?, ?, ?)", rows)


def read_images(
    database: sqlite3.Connection, chat_id: str, message_ids: Sequence[int]
) -> dict[int, tuple[bytes, ...]]:
    """Return the images of those messages of a chat that have some."""
    query = (
        "SELECT images.content FROM images JOIN messages ON messages.id = images.message"
        " WHERE messages.id = ? AND chat = ? ORDER BY place"
    )
    found = {
        message_id: tuple(row[0] for row in database.execute(query, (message_id, chat_id)))
        for message_id in message_ids
    }
    return {message_id: images for message_id, images in found.items() if images}


def _size_of_chat(database: sqlite3.Connection, chat_id: str) -> int:
    query = (
        "SELECT TOTAL(LENGTH(images.content)) FROM images"
        " JOIN messages ON messages.id = images.message WHERE chat = ?"
    )
    return int(database.execute(query, (chat_id,)).fetchone()[0])


def _mib(size_bytes: int) -> str:
    return f"{size_bytes // 1024 // 1024} MiB"
