"""Kinds of media files by their first bytes.

What a client says about a file (a name, a type) never decides how it is read.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

MediaKind = Literal["image", "sound", "pdf"]


class MediaFormat(NamedTuple):
    """What a file is, and the name of its format."""

    kind: MediaKind
    format: str


_SIGNATURES: tuple[tuple[int, bytes, MediaFormat], ...] = (
    (0, b"\xff\xd8\xff", MediaFormat("image", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", MediaFormat("image", "PNG")),
    (0, b"GIF87a", MediaFormat("image", "GIF")),
    (0, b"GIF89a", MediaFormat("image", "GIF")),
    (8, b"WEBP", MediaFormat("image", "WEBP")),
    (0, b"BM", MediaFormat("image", "BMP")),
    (0, b"II*\x00", MediaFormat("image", "TIFF")),
    (0, b"MM\x00*", MediaFormat("image", "TIFF")),
    (4, b"ftypavif", MediaFormat("image", "AVIF")),
    (8, b"WAVE", MediaFormat("sound", "WAV")),
    (0, b"fLaC", MediaFormat("sound", "FLAC")),
    (0, b"OggS", MediaFormat("sound", "OGG")),
    (0, b"ID3", MediaFormat("sound", "MP3")),
    (0, b"%PDF-", MediaFormat("pdf", "PDF")),
)
_KNOWN_BUT_UNREAD = (
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftyphevc", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypM4A", "M4A"),
    (4, b"ftyp", "MP4"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (0, b"<svg", "SVG"),
)
CONTAINERS = frozenset({"M4A", "MP4", "WebM"})  # with sounds that only ffmpeg reads
MP3_SYNC = 0xE0  # the first eleven bits of a frame are ones


def kind_of(data: bytes) -> MediaFormat | None:
    """Return the kind of a file that localrun reads, or None."""
    for offset, signature, kind in _SIGNATURES:
        if data.startswith(signature, offset):
            return kind
    if len(data) > 1 and data[0] == 0xFF and data[1] & MP3_SYNC == MP3_SYNC:  # noqa: PLR2004
        return MediaFormat("sound", "MP3")
    return None


def unread_format(data: bytes) -> str | None:
    """Return the format of a file that localrun recognizes but does not read, or None."""
    return next(
        (name for offset, mark, name in _KNOWN_BUT_UNREAD if data.startswith(mark, offset)), None
    )
