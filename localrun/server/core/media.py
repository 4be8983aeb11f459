"""Media of a request: whether its model takes them, before anything is loaded for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.chat.media_marks import MEDIA, media_of
from localrun.errors import UsageError
from localrun.media.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import JsonObject, PromptSpec
    from localrun.services.stored_model import StoredModel

    Fetch = Callable[[str], bytes]

FETCH_IMAGES = "LOCALRUN_FETCH_IMAGES"
MAX_SHOWN = 200  # characters of an address
NEEDS = {"image": ("an image", "vision"), "sound": ("a sound", "audio")}


def with_fetched_media(prompt: PromptSpec, model: StoredModel, fetch: Fetch) -> PromptSpec:
    """Return a prompt whose media have bytes; blocks while those with an address are fetched.

    Raises:
        UsageError: the model does not take one of them, or its address may not be opened.
        NetworkError: it cannot be fetched.
    """
    messages = prompt.messages or ()
    media = media_of(messages)
    if not media:
        return prompt
    for medium in media:
        _check_taken(medium, model)
    if not any("url" in medium for medium in media):
        return prompt
    return replace(prompt, messages=tuple(_fetched(message, model, fetch) for message in messages))


def refuse_address(url: str) -> bytes:
    """Raise: the server fetches nothing unless its owner allows it.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"the server fetches no images: {url[:MAX_SHOWN]} is an address",
        hint=f"send the image as a data: URL, or start the server with {FETCH_IMAGES}=HOST",
    )


def _fetched(message: JsonObject, model: StoredModel, fetch: Fetch) -> JsonObject:
    if MEDIA not in message:
        return message
    media = []
    for medium in message[MEDIA]:
        made = medium
        if "url" in medium:
            kept = {name: value for name, value in medium.items() if name != "url"}
            made = kept | {"data": fetch(medium["url"])}
            _check_taken(made, model)
        media.append(made)
    return {**message, MEDIA: media}


def _check_taken(medium: dict[str, Any], model: StoredModel) -> None:
    """Check a medium against the capabilities of a model, by its bytes or else by what it may be.

    Raises:
        UsageError: the model has no encoder for it; the error names its place and the model.
    """
    data = medium.get("data")
    found = kind_of(data) if isinstance(data, bytes) else None
    kind = found.kind if found is not None else medium["expected"]
    content, capability = NEEDS.get(kind, ("", ""))
    if capability and capability not in model.details.capabilities:
        reads_text = "" if _reads_media(model) else ": it reads text only"
        raise UsageError(
            f"{medium['place']} contains {content}, and {model.name} has no {capability} support"
            f" here{reads_text}",
            param=medium["place"],
            hint=f"localrun show {model.name}   shows its capabilities",
        )


def _reads_media(model: StoredModel) -> bool:
    return any(capability in model.details.capabilities for _, capability in NEEDS.values())
