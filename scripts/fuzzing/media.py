"""Images, sounds and documents as a target: mutated files of every format that localrun reads.

A mutant is read, or refused with a UsageError. Headers may promise fifty million pixels, which are
decoded; the bound of memory allows for that.
"""

from __future__ import annotations

import ctypes
import io
import random
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
import soundfile
from PIL import Image

from fuzzing.mutate import change
from localrun.errors import UsageError
from localrun.media.documents import read_pdf
from localrun.media.images import decode_image
from localrun.media.kinds import kind_of
from localrun.media.sounds import decode_sound

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 16000
SIDE = 48
SECONDS = 0.2
HEAD_BYTES = 64  # changed more often than what follows
HEAD_BIAS = 0.5
NAME = "the file"
SOUNDS = {
    "wav": ("WAV", "PCM_16"),
    "wav of floats": ("WAV", "FLOAT"),
    "wav in ADPCM": ("WAV", "IMA_ADPCM"),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", None),
}
IMAGES: dict[str, tuple[str, str, dict[str, object]]] = {
    "png": ("PNG", "RGB", {}),
    "png with transparency": ("PNG", "RGBA", {}),
    "png of 16 bits": ("PNG", "I;16", {}),
    "png with a palette": ("PNG", "P", {}),
    "jpeg": ("JPEG", "RGB", {}),
    "progressive jpeg": ("JPEG", "RGB", {"progressive": True}),
    "jpeg in CMYK": ("JPEG", "CMYK", {}),
    "webp": ("WEBP", "RGB", {}),
    "lossless webp": ("WEBP", "RGBA", {"lossless": True}),
    "gif": ("GIF", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff by LZW": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "tiff by Deflate": ("TIFF", "L", {"compression": "tiff_deflate"}),
    "avif": ("AVIF", "RGB", {}),
}


class Media:
    """Mutants of one small file of each format, in turn."""

    slowest_s = 20.0
    max_memory_mb = 1500

    def __init__(self) -> None:
        self._files = (
            [_image(*made) for made in IMAGES.values()]
            + [_sound(*made) for made in SOUNDS.values()]
            + [_pdf("Hello there"), _pdf("")]
        )

    def attempt(self, number: int) -> str:
        """Decode a mutant; return what came of it."""
        data = self.mutant(number)
        kind = kind_of(data)
        decode = _DECODERS[kind.kind] if kind is not None else _decode_image
        try:
            decode(data)
        except UsageError as error:
            return f"refused: {kind.format if kind else 'unknown format'}: {error.message}"
        return f"read: {kind.format if kind else ''}"

    def mutant(self, number: int) -> bytes:
        """Return the mutant of a number, which is always the same."""
        rng = random.Random(number)
        data = bytearray(self._files[number % len(self._files)])
        change(rng, data, lambda rng: _place(rng, len(data)))
        return bytes(data)


def _place(rng: random.Random, size: int) -> tuple[int, int]:
    end = min(HEAD_BYTES, size) if rng.random() < HEAD_BIAS else size
    return rng.randrange(max(1, end)), rng.choice((1, 2, 4, 8))


def _decode_image(data: bytes) -> None:
    decode_image(data, NAME)


_DECODERS: dict[str, Callable[[bytes], None]] = {
    "image": _decode_image,
    "sound": lambda data: _ignore(decode_sound(data, NAME, rate=RATE)),
    "pdf": lambda data: _ignore(read_pdf(data, NAME, renders=True)),
}


def _ignore(_decoded: object) -> None:
    """Drop what was decoded: that it was is all that counts."""


def _image(form: str, mode: str, options: dict[str, object]) -> bytes:
    colours = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(colours)
    if mode == "I;16":
        image = Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    elif image.mode != mode:
        image = image.convert(mode)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def _sound(container: str, subtype: str | None) -> bytes:
    times = np.arange(int(RATE * SECONDS)) / RATE
    wave = 0.4 * np.sin(2 * np.pi * 440 * times)
    out = io.BytesIO()
    soundfile.write(out, np.stack([wave, wave], axis=1), RATE, format=container, subtype=subtype)
    return out.getvalue()


def _pdf(text: str) -> bytes:
    """Return a document of one page; without a text it becomes an image."""
    document = pypdfium2.PdfDocument.new()
    page = document.new_page(120, 80)
    font = pdfium.FPDFText_LoadStandardFont(document, b"Helvetica")
    if text:
        units = (text + "\0").encode("utf-16-le")
        written = pdfium.FPDFPageObj_CreateTextObj(document, font, ctypes.c_float(12))
        kind = ctypes.c_ushort * (len(units) // 2)
        pdfium.FPDFText_SetText(written, kind.from_buffer_copy(units))
        pdfium.FPDFPage_InsertObject(page, written)
        pdfium.FPDFPage_GenerateContent(page)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()
