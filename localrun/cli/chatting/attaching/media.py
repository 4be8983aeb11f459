"""Kinds of files by their first bytes: image, sound, document that needs a converter, text, binary.

The name of a file decides nothing, except how it is shown. Pure: takes bytes.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "sound", "document", "text", "binary"]
HEAD_BYTES = 8192  # enough for every signature, and to tell text from binary data

SIGNATURES: tuple[tuple[int, bytes, Kind, str], ...] = (  # offset, bytes, kind, format
    (0, b"\xff\xd8\xff", "image", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "image", "PNG"),
    (0, b"GIF87a", "image", "GIF"),
    (0, b"GIF89a", "image", "GIF"),
    (8, b"WEBP", "image", "WebP"),
    (0, b"II*\x00", "image", "TIFF"),
    (0, b"MM\x00*", "image", "TIFF"),
    (4, b"ftypheic", "image", "HEIC"),
    (4, b"ftypmif1", "image", "HEIC"),
    (4, b"ftypavif", "image", "AVIF"),
    (8, b"WAVE", "sound", "WAV"),
    (0, b"fLaC", "sound", "FLAC"),
    (0, b"OggS", "sound", "Ogg"),
    (0, b"ID3", "sound", "MP3"),
    (0, b"\xff\xfb", "sound", "MP3"),
    (0, b"\xff\xf3", "sound", "MP3"),
    (4, b"ftypM4A ", "sound", "M4A"),
    (0, b"%PDF-", "document", "PDF document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document", "Office document"),
    (0, b"{\\rtf", "document", "RTF document"),
)
ARCHIVES = {  # a zip archive is what its ending says
    ".docx": "Word document", ".xlsx": "Excel document", ".pptx": "PowerPoint document",
    ".odt": "OpenDocument text", ".ods": "OpenDocument table", ".epub": "EPUB book",
}  # fmt: skip
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class FileKind:
    """Kind of a file, and its format in words."""

    kind: Kind
    form: str


def kind_of(head: bytes, ending: str = "") -> FileKind:
    """Return the kind of a file that begins with ``head``; ``ending`` names a zip archive."""
    for offset, signature, kind, form in SIGNATURES:
        is_riff = offset == 8 and not head.startswith(b"RIFF")  # noqa: PLR2004 - after its length
        if head.startswith(signature, offset) and not is_riff:
            return FileKind(kind, form)
    if head.startswith(b"PK\x03\x04") and ending.lower() in ARCHIVES:
        return FileKind("document", ARCHIVES[ending.lower()])
    if head.startswith(b"BM") and b"\x00" in head[:14]:
        return FileKind("image", "BMP")
    encoding = text_encoding(head)
    return FileKind("binary", "binary file") if encoding is None else FileKind("text", encoding)


def text_encoding(head: bytes) -> str | None:
    """Return the encoding of text by its byte order mark, else UTF-8; None if it is binary."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    return None if b"\x00" in head else "utf-8"
