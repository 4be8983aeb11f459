"""Media of requests: images, sounds and documents, under all the names that the APIs have.

    OpenAI chat      {"type": "image_url", "image_url": {"url": "data:...", "detail": "low"}}
                     {"type": "input_audio", "input_audio": {"data": ..., "format": "wav"}}
                     {"type": "file", "file": {"file_data": "data:...", "filename": ...}}
    OpenAI responses {"type": "input_image", "image_url": "data:...", "detail": ...}
                     {"type": "input_file", "file_data": "data:...", "filename": ...}
    Anthropic        {"type": "image", "source": {"type": "base64", "data": ...}}
                     {"type": "document", "source": {"type": "base64", "data": ...}}
    Ollama           "images": [base64]
    llama-server     {"prompt_string": "<__media__>", "multimodal_data": [base64]}

A medium becomes a value of a message's ``media`` (chat/media_marks.py): its bytes, or an address,
which is refused (server/core/media.py), and its place in the request for errors. The runner finds
out what the bytes are. Documents of text become text at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.chat.media_marks import marked
from localrun.errors import UsageError
from localrun.server.parsing.base64_data import decoded
from localrun.server.parsing.fields import brief
from localrun.server.parsing.table import documented

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.parsing.fields import Fields

    Part = str | dict[str, Any]  # a text, or a medium

IMAGE_TYPES = frozenset({"image", "image_url", "input_image"})
SOUND_TYPES = frozenset({"input_audio", "audio_url"})
FILE_TYPES = frozenset({"file", "input_file", "document"})
MEDIA_TYPES = IMAGE_TYPES | SOUND_TYPES | FILE_TYPES
VIDEO_TYPES = frozenset({"video", "video_url", "input_video"})
MEDIA_MARKER = "<__media__>"  # libmtmd's own
MAX_MEDIA = 256  # of a message
WEB = ("http://", "https://")
LONGEST_ADDRESS = 4096
NO_IMAGES = documented("images", {"type": "array", "maxItems": 0})  # beside the messages


def part_of(part: Fields, read_text: Callable[[Fields], str]) -> Part:
    """Return the medium of a part, or what ``read_text`` makes of a part that has none."""
    medium = medium_of(part)
    return read_text(part) if medium is None else medium


def medium_of(part: Fields) -> Part | None:
    """Return the medium of a part, or the text of a document; None for a part of another type.

    Raises:
        UsageError: the part is malformed, or of a kind that no model here takes.
    """
    kind = part.text("type") or ""
    if kind in VIDEO_TYPES:
        raise part.wrong("type", f"is {kind}: localrun reads images and documents, no video")
    if kind in IMAGE_TYPES:
        return _image(part)
    if kind in SOUND_TYPES:
        return _sound(part)
    return _file(part) if kind in FILE_TYPES else None


def images_of(message: Fields, name: str = "images") -> list[dict[str, Any]]:
    """Return the media of Ollama's list of base64.

    Raises:
        UsageError: it is not such a list.
    """
    texts = message.strings(name, most=MAX_MEDIA)
    return [
        _medium(text, f"{message.path(name)}[{index}]", "image") for index, text in enumerate(texts)
    ]


def raw_media(prompt: Fields) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Return text and media of llama-server's prompt object, marks in the text.

        {"prompt_string": "What is <__media__>?", "multimodal_data": [base64]}

    Raises:
        UsageError: it has another number of media than of `MEDIA_MARKER`.
    """
    text, name = prompt.required_text("prompt_string"), "multimodal_data"
    data = prompt.strings(name, most=MAX_MEDIA)
    if text.count(MEDIA_MARKER) != len(data):
        problem = f"has {len(data)} media, and the prompt {text.count(MEDIA_MARKER)} {MEDIA_MARKER}"
        raise prompt.wrong(name, problem)
    media = (
        _medium(each, f"{prompt.path(name)}[{index}]", "image") for index, each in enumerate(data)
    )
    return marked(text, MEDIA_MARKER), tuple(media)


def refuse_images(fields: Fields) -> None:
    """Refuse ``images`` beside the messages, where no API has them.

    Raises:
        UsageError: there are some.
    """
    if fields.raw(NO_IMAGES.name):
        raise fields.wrong(NO_IMAGES.name, "belong into a message")


def _image(part: Fields) -> Part:
    if part.text("type") == "image":
        return _anthropic(part.inner("source"), "image")
    value, name = part.raw("image_url"), "image_url"
    detail = part.text("detail")
    if isinstance(value, dict):
        inner = part.inner(name)
        value, detail, name = inner.raw("url"), inner.text("detail") or detail, f"{name}.url"
    if value is None and part.raw("file_id") is not None:
        raise part.wrong("file_id", "is not supported for images: send the image as a data: URL")
    if not isinstance(value, str) or not value:
        raise part.wrong(name, "must be a data: URL with the image")
    return _medium(value, part.path(name), "image") | ({"detail": detail} if detail else {})


def _sound(part: Fields) -> Part:
    kind = part.text("type")
    if kind == "audio_url":
        value = part.raw(kind)
        value = value.get("url") if isinstance(value, dict) else value
        name = kind
    else:
        value, name = part.inner("input_audio").raw("data"), "input_audio.data"
    if not isinstance(value, str) or not value:
        raise part.wrong(name, "must be the sound in base64")
    return _medium(value, part.path(name), "sound")


def _file(part: Fields) -> Part:
    if part.text("type") == "document":
        return _document(part)
    inner = part.inner("file") if part.text("type") == "file" else part
    data = inner.text("file_data")
    if data is None and inner.raw("file_url") is not None:
        return _medium(inner.required_text("file_url"), inner.path("file_url"), "file")
    if data is None and inner.raw("file_id") is not None:
        raise inner.wrong("file_id", "is not supported here: send the file in file_data")
    if not data:
        raise inner.wrong("file_data", "is required")
    medium = _medium(data, inner.path("file_data"), "file")
    return _as_text(medium, inner.text("filename"))


def _document(block: Fields) -> Part:
    """Return a document of Anthropic's: a text, a PDF, or blocks of text."""
    source, title = block.inner("source"), block.text("title")
    kind = source.text("type")
    if kind == "text":
        return _titled(source.required_text("data"), title)
    if kind == "content":
        content = source.raw("content")
        if isinstance(content, str):
            return _titled(content, title)
        texts = [one.get("text") for one in source.objects("content")]
        if not all(isinstance(text, str) for text in texts):
            raise source.wrong("content", "has a block that is not text")
        return _titled("\n".join(map(str, texts)), title)
    return _as_text(_anthropic(source, "file"), title)


def _anthropic(source: Fields, expected: str) -> dict[str, Any]:
    kind = source.text("type")
    if kind == "base64":
        return _medium(source.required_text("data"), source.path("data"), expected)
    if kind == "url":
        return _medium(source.required_text("url"), source.path("url"), expected)
    raise source.wrong("type", f"is {brief(kind)}, which is not supported here")


def _medium(text: str, place: str, expected: str) -> dict[str, Any]:
    """Return the medium of a data: URL, of base64 alone, or of an address.

    Raises:
        UsageError: it is none of them.
    """
    made: dict[str, Any] = {"expected": expected, "place": place}
    if text[:8].lower().startswith(WEB):
        if len(text) > LONGEST_ADDRESS:
            raise UsageError(f"{place} is an address that is too long", param=place)
        return made | {"url": text}
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise UsageError(f"{place} must be a data: URL in base64", param=place)
    elif "://" in text[:32]:
        scheme = text.partition("://")[0]
        raise UsageError(
            f"{place} is an address with {scheme}://, which the server never opens",
            hint="send the content as a data: URL",
            param=place,
        )
    return made | {"data": decoded(text, place)}


def _as_text(medium: dict[str, Any], title: str | None) -> Part:
    """Return the text of a document that is plain text; others as they are."""
    data = medium.get("data")
    if not isinstance(data, bytes) or b"\0" in data or data.startswith(b"%PDF-"):
        return medium | ({"title": title} if title else {})
    try:
        return _titled(data.decode("utf-8-sig"), title)
    except UnicodeDecodeError:
        return medium


def _titled(text: str, title: str | None) -> str:
    return f"{title}\n{text}" if title else text
