"""Images, sounds and documents of a message, as parts of OpenAI's API.

    {"type": "image_url", "image_url": {"url": "data:image/png;base64,...", "detail": "low"}}
    {"type": "input_audio", "input_audio": {"data": base64, "format": "wav"}}
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,..."}}

The format is that of the first bytes.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from localrun.chat.media_marks import MARK
from localrun.media.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.runner.messages import JsonObject

DEFAULT_NAME = "file.pdf"


def content_parts(content: str, media: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the parts of a message, whose content has a mark for each medium."""
    return list(_parts(content, media))


def _parts(content: str, media: Sequence[JsonObject]) -> Iterator[JsonObject]:
    first, *others = content.split(MARK)
    if first:
        yield {"type": "text", "text": first}
    for medium, text in zip(media, others, strict=False):
        yield _part(medium)
        if text:
            yield {"type": "text", "text": text}


def _part(medium: JsonObject) -> JsonObject:
    data = bytes(medium["data"])
    kind, text = kind_of(data), base64.b64encode(data).decode()
    form = "octet-stream" if kind is None else kind.format.lower()
    name = medium["expected"] if kind is None else kind.kind
    if name == "sound":
        return {"type": "input_audio", "input_audio": {"data": text, "format": form}}
    if name == "image":
        image: dict[str, Any] = {"url": f"data:image/{form};base64,{text}"}
        image |= {"detail": medium["detail"]} if medium.get("detail") else {}
        return {"type": "image_url", "image_url": image}
    file = {
        "filename": medium.get("title") or DEFAULT_NAME,
        "file_data": f"data:application/pdf;base64,{text}",
    }
    return {"type": "file", "file": file}
