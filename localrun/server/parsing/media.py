"""Refuse images, sounds and films in a request, under all the names that the APIs have for them.

Models here read text; the error names the model, so that who has several knows which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.parsing.fields import Fields

# by the type of a part: what it holds, and what a model needs for it
KINDS = {
    **dict.fromkeys(("image", "image_url", "input_image"), ("an image", "vision")),
    **dict.fromkeys(("audio", "audio_url", "input_audio"), ("a sound", "audio")),
    **dict.fromkeys(("video", "video_url", "input_video"), ("a film", "vision")),
}
LISTS = ("content", "output")  # of a message, of a tool's result in it
IMAGES = "images"  # Ollama's, beside the text


def refuse_media(fields: Fields, name: str) -> None:
    """Refuse a request whose messages, under ``name``, hold more than text.

    Raises:
        UsageError: one does; the error names its place and the model.
    """
    model = fields.raw("model") or fields.raw("name")
    called = model[:100] if isinstance(model, str) else "this model"
    for place, holds, part in _media(fields, name):
        raise UsageError(
            f"{place} holds {holds}, and {called} has no {part} part here: it reads text only",
            param=place,
            hint=f"localrun show {called}   tells what it can do",
        )


def _media(fields: Fields, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the place of each, what it is, and what a model needs for it."""
    if fields.raw(IMAGES):
        yield (fields.path(IMAGES), *KINDS["image"])
    messages = fields.raw(name)
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            continue
        if message.get(IMAGES):
            yield (f"{fields.path(name)}[{index}].{IMAGES}", *KINDS["image"])
        for key in LISTS:
            kind = next(_kinds(message.get(key)), None)
            if kind is not None:
                yield (f"{fields.path(name)}[{index}].{key}", *KINDS[kind])


def _kinds(parts: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield the types of parts that are no text, those inside of tools' results too."""
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if isinstance(kind, str) and kind in KINDS:
            yield kind
        yield from _kinds(part.get("content"))
