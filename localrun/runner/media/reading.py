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
from localrun.media.kinds import CONTAINERS, kind_of, unread_format

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
        *,
        ffmpeg: str = "",
    ) -> None:
        """Read media.

        ``refusal`` says why images and sounds are refused, if the model has a projector; ``ffmpeg``
        is the program that reads other containers, if the user has named it.
        """
        self._ffmpeg = ffmpeg
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
        is_sound = kind.kind == "sound" if kind is not None else unread_format(data) in CONTAINERS
        if is_sound:
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

        samples = decode_sound(data, name, rate=projector.sample_rate, ffmpeg=self._ffmpeg)
        content = hashlib.sha256(b"samples" + samples.tobytes()).digest()
        return self._library.add(digest, content, projector.tokenize_audio(samples))

    def _check_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _document(self, data: bytes, name: str, title: str) -> tuple[PromptPart, ...]:
        """Return the pages of a PDF, each behind a line with its number."""
        sees = self._projector is not None and self._projector.sees
        parts: list[PromptPart] = [f"{title}\n"] if title else []
        images = _PageImages(self._library, data)
        for page in read_pdf(data, name, renders=sees, is_known=images.find):
            parts.append(f"Page {page.number}:\n{page.text}\n\n")
            parts += images.found.get(page.number, ())
            if page.pixels is not None and self._projector is not None:
                digest = images.digest_of(page.number)
                parts += self._parts_of(page.pixels, digest, self._projector)
        return tuple(parts)

    def _parts_of(
        self, pixels: Pixels, digest: bytes, projector: LoadedProjector
    ) -> tuple[MediaPart, ...]:
        shape = (pixels.height, pixels.width, 3)
        content = hashlib.sha256(repr(shape).encode() + pixels.data).digest()
        array = np.frombuffer(pixels.data, dtype=np.uint8).reshape(shape)
        return self._library.add(digest, content, projector.tokenize_image(array))


class _PageImages:
    """Images of the pages of one document that the library knows."""

    def __init__(self, library: MediaLibrary, data: bytes) -> None:
        self.found: dict[int, tuple[MediaPart, ...]] = {}  # by page number
        self._library = library
        self._document = hashlib.sha256(data)

    def digest_of(self, number: int) -> bytes:
        """Return the digest of a page."""
        page = self._document.copy()
        page.update(b"page" + str(number).encode())
        return page.digest()

    def find(self, number: int) -> bool:
        """Return whether the library knows the image of a page, and keep it if so."""
        known = self._library.find(self.digest_of(number))
        if known is not None:
            self.found[number] = known
        return known is not None
