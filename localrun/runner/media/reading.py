"""Reading of media: what a client sent becomes parts of a prompt.

    image, sound    text tokens and chunks, by the projector; kept in the library by digest
    document        its text; pages without text become images if the model sees

Runs on the threads of the `MediaStage`. Nothing is decoded that the library knows already.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.errors import LocalrunError, UsageError
from localrun.media.documents import read_pdf
from localrun.media.images import decode_image
from localrun.media.kinds import kind_of

if TYPE_CHECKING:
    from localrun.engine.media.library import MediaLibrary, MediaPart
    from localrun.engine.media.projector import LoadedProjector
    from localrun.media.images import Pixels

    Medium = dict[str, Any]
    PromptPart = str | MediaPart

LOW_DETAIL = "low"


class MediaReader:
    """Reads media for one loaded model; ``projector`` None: it neither sees nor hears."""

    def __init__(
        self,
        projector: LoadedProjector | None,
        library: MediaLibrary,
        refusal: LocalrunError | None = None,
    ) -> None:
        """``refusal``: why images and sounds are refused, if the model has a projector."""
        self._projector = projector
        self._library = library
        self._refusal = refusal

    def read(self, medium: Medium) -> tuple[PromptPart, ...]:
        """Return the parts of a medium in a prompt; blocks while it is decoded.

        Raises:
            UsageError: it is damaged, too large, or nothing that the model takes.
        """
        data, name = bytes(medium["data"]), str(medium.get("place") or "the file")
        kind = kind_of(data)
        if kind is not None and kind.kind == "pdf":
            return self._document(data, name, str(medium.get("title") or ""))
        if kind is not None and kind.kind == "sound":
            return self._sound(data, name)
        return self._image(data, name, is_low_detail=medium.get("detail") == LOW_DETAIL)

    def _image(self, data: bytes, name: str, *, is_low_detail: bool) -> tuple[MediaPart, ...]:
        self._check_refusal()
        if self._projector is None or not self._projector.sees:
            raise UsageError(f"{name} is an image, and the model does not see", param=name)
        digest = hashlib.sha256(data + bytes([is_low_detail])).digest()
        known = self._library.find(digest)
        if known is not None:
            return known
        pixels = decode_image(data, name, is_low_detail=is_low_detail)
        return self._parts_of(pixels, digest, self._projector)

    def _sound(self, data: bytes, name: str) -> tuple[MediaPart, ...]:
        self._check_refusal()
        projector = self._projector
        if projector is None or not projector.hears:
            raise UsageError(f"{name} is a sound, and the model does not hear", param=name)
        digest = hashlib.sha256(data).digest()
        known = self._library.find(digest)
        if known is not None:
            return known
        from localrun.media.sounds import decode_sound

        samples = decode_sound(data, name, rate=projector.sample_rate)
        content = hashlib.sha256(b"samples" + samples.tobytes()).digest()
        return self._library.add(digest, content, projector.tokenize_audio(samples))

    def _check_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _document(self, data: bytes, name: str, title: str) -> tuple[PromptPart, ...]:
        """Return the pages of a PDF, each behind a line with its number."""
        sees = self._projector is not None and self._projector.sees
        parts: list[PromptPart] = [f"{title}\n"] if title else []
        for page in read_pdf(data, name, renders=sees):
            parts.append(f"Page {page.number}:\n{page.text}\n\n")
            if page.pixels is not None and self._projector is not None:
                digest = hashlib.sha256(data + b"page" + str(page.number).encode()).digest()
                parts += self._library.find(digest) or self._parts_of(
                    page.pixels, digest, self._projector
                )
        return tuple(parts)

    def _parts_of(
        self, pixels: Pixels, digest: bytes, projector: LoadedProjector
    ) -> tuple[MediaPart, ...]:
        shape = (pixels.height, pixels.width, 3)
        content = hashlib.sha256(repr(shape).encode() + pixels.data).digest()
        array = np.frombuffer(pixels.data, dtype=np.uint8).reshape(shape)
        return self._library.add(digest, content, projector.tokenize_image(array))
