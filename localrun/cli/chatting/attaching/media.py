"""Kinds of files by their first bytes: media as the server reads them, documents, text, binary.

The name of a file decides nothing, except how it is shown. Pure: takes bytes.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

from localrun.media.kinds import CONTAINERS, unread_format
from localrun.media.kinds import kind_of as media_format

Kind = Literal["image", "sound", "document", "text", "binary"]
HEAD_BYTES = 8192  # enough for every signature, and to tell text from binary data

DOCUMENTS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document"),
    (b"{\\rtf", "RTF document"),
)
PDF = "PDF document"
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
    medium = _medium(head)
    if medium is not None:
        return medium
    for signature, form in DOCUMENTS:
        if head.startswith(signature):
            return FileKind("document", form)
    if head.startswith(b"PK\x03\x04") and ending.lower() in ARCHIVES:
        return FileKind("document", ARCHIVES[ending.lower()])
    encoding = text_encoding(head)
    return FileKind("binary", "binary file") if encoding is None else FileKind("text", encoding)


def text_encoding(head: bytes) -> str | None:
    """Return the encoding of text by its byte order mark, else UTF-8; None if it is binary."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    return None if b"\x00" in head else "utf-8"


def _medium(head: bytes) -> FileKind | None:
    """Return the kind of an image, a sound or a PDF; of those that need a program, the likely one.

    An SVG is text.
    """
    found = media_format(head)
    if found is not None:
        if found.kind == "pdf":
            return FileKind("document", PDF)
        return FileKind(found.kind, found.format)
    form = unread_format(head)
    if form in CONTAINERS:
        return FileKind("sound", form)
    return FileKind("image", form) if form == "HEIC" else None
