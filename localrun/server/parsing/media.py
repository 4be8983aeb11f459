"""Refusal of images, audio and video in a request, under all the names that the APIs have.

Models here read text only. The error names the field and the model, for clients that use several
models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError
from localrun.server.parsing.table import documented

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.parsing.fields import Fields

KINDS = {  # type of a content part: its content, and the capability that a model needs for it
    **dict.fromkeys(("image", "image_url", "input_image"), ("an image", "vision")),
    **dict.fromkeys(("audio", "audio_url", "input_audio"), ("audio", "audio")),
    **dict.fromkeys(("video", "video_url", "input_video"), ("video", "vision")),
}
LISTS = ("content", "output")  # of a message, and of a tool result
IMAGES = documented("images", {"type": "array", "maxItems": 0})  # Ollama's, beside the text


def refuse_media(fields: Fields, name: str = "messages") -> None:
    """Refuse a request with media in ``images`` or in the messages under ``name``.

    Raises:
        UsageError: there is a part that is not text; the error names its place and the model.
    """
    model = fields.raw("model") or fields.raw("name")
    called = model[:100] if isinstance(model, str) else "this model"
    for place, content, capability in _media(fields, name):
        raise UsageError(
            f"{place} contains {content}, and {called} has no {capability} support here: "
            "it reads text only",
            param=place,
            hint=f"localrun show {called}   shows its capabilities",
        )


def _media(fields: Fields, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the place, the content and the needed capability of each part that is not text."""
    images = IMAGES.name
    if fields.raw(images):
        yield (fields.path(images), *KINDS["image"])
    messages = fields.raw(name)
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            continue
        if message.get(images):
            yield (f"{fields.path(name)}[{index}].{images}", *KINDS["image"])
        for key in LISTS:
            kind = next(_kinds(message.get(key)), None)
            if kind is not None:
                yield (f"{fields.path(name)}[{index}].{key}", *KINDS[kind])


def _kinds(parts: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield the types of parts that are not text, also of those inside tool results."""
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if isinstance(kind, str) and kind in KINDS:
            yield kind
        yield from _kinds(part.get("content"))
