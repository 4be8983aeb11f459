"""Reading of media: what a client sent becomes parts of a prompt.

    image, sound    text tokens and chunks, by the projector; kept in the library by digest
    document        its text; pages without text become images if the model sees

Runs on the threads of the `MediaStage`. Nothing is decoded that the library knows already.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.errors import UsageError
from localrun.media.images import decode_image
from localrun.media.kinds import kind_of

if TYPE_CHECKING:
    from localrun.engine.media.library import MediaLibrary, MediaPart
    from localrun.engine.media.projector import Projector

    Medium = dict[str, Any]
    PromptPart = str | MediaPart

LOW_DETAIL = "low"


class MediaReader:
    """Reads media for one loaded model; ``projector`` None: it neither sees nor hears."""

    def __init__(self, projector: Projector | None, library: MediaLibrary) -> None:
        self._projector = projector
        self._library = library

    def read(self, medium: Medium) -> tuple[PromptPart, ...]:
        """Return the parts of a medium in a prompt; blocks while it is decoded.

        Raises:
            UsageError: it is damaged, too large, or nothing that the model takes.
        """
        data, name = bytes(medium["data"]), str(medium.get("place") or "the file")
        kind = kind_of(data)
        if kind is not None and kind.kind == "sound":
            raise UsageError(f"{name} is a sound, which is not read here", param=name)
        return self._image(data, name, is_low_detail=medium.get("detail") == LOW_DETAIL)

    def _image(self, data: bytes, name: str, *, is_low_detail: bool) -> tuple[MediaPart, ...]:
        projector = self._projector
        if projector is None or not projector.sees:
            raise UsageError(f"{name} is an image, and the model reads text only", param=name)
        digest = hashlib.sha256(data + bytes([is_low_detail])).digest()
        known = self._library.find(digest)
        if known is not None:
            return known
        pixels = decode_image(data, name, is_low_detail=is_low_detail)
        shape = (pixels.height, pixels.width, 3)
        content = hashlib.sha256(repr(shape).encode() + pixels.data).digest()
        array = np.frombuffer(pixels.data, dtype=np.uint8).reshape(shape)
        return self._library.add(digest, content, projector.tokenize_image(array))
