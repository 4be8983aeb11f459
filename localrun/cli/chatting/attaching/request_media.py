"""Media of requests: a conversation may have more of them than one request takes.

Media in base64 take a third more than their files, and a server bounds the body of a request. So
the oldest media of a long conversation are left out; the newest fit, since those of
a message are bounded too.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from localrun.cli.output import human_bytes
from localrun.conversations.images import MAX_MESSAGE_BYTES
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.cli.chatting.attaching.documents import MediaFile

MAX_MEDIA = 64  # in a message
PLACE = re.compile(r"messages\[(\d{1,9})\]\.images\[(\d{1,9})\]")  # in errors of the server
MAX_CHARACTERS = MAX_MESSAGE_BYTES // 3 * 4 + 1024  # in base64, with the padding of each


def check_together(media: Sequence[MediaFile]) -> None:
    """Check that one message takes all of its media.

    Raises:
        UsageError: they are too many or too large together.
    """
    if len(media) > MAX_MEDIA:
        raise UsageError(f"a message has at most {MAX_MEDIA} images, sounds and PDF files")
    num_bytes = sum(len(one.content) for one in media)
    if num_bytes > MAX_MESSAGE_BYTES:
        most = human_bytes(MAX_MESSAGE_BYTES)
        raise UsageError(
            f"the media of the message have {human_bytes(num_bytes)}, a request takes {most}",
            hint="send smaller ones, or in several messages",
        )


@contextlib.contextmanager
def naming_media(names: Sequence[str], place: int) -> Iterator[None]:
    """Name the file in an error of the server, which knows its place in the request alone.

    ``names`` are those of the media of one message, ``place`` is its own in the request.
    """
    try:
        yield
    except LocalrunError as error:
        found = PLACE.match(error.message)
        if found and int(found[1]) == place and int(found[2]) < len(names):
            error.message = names[int(found[2])] + error.message[found.end() :]
            error.args = (error.message,)
        raise


def media_names(message: dict[str, Any]) -> Sequence[str]:
    """Return the names of the media of a kept message, which are the last of its attachments."""
    num_images = len(message.get("images") or ())
    names: list[str] = message.get("attachments") or []
    return names[-num_images:] if num_images else ()


def without_oldest(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages of ``/api/chat`` with the newest of their media that fit one request."""
    num_left, fitting = MAX_CHARACTERS, []
    for message in reversed(messages):
        images: list[str] = []
        for image in reversed(message.get("images") or ()):
            num_left -= len(image)
            if num_left >= 0:
                images.insert(0, image)
        rest = {name: value for name, value in message.items() if name != "images"}
        fitting.append({**rest, "images": images} if images else rest)
    return fitting[::-1]


def num_media(messages: Sequence[dict[str, Any]]) -> int:
    """Return the number of media of messages."""
    return sum(len(message.get("images") or ()) for message in messages)
