"""Kinds of media files by their first bytes.

What is said about a file (a name, a type) never decides how it is read. The chat in the terminal
asks the same table (cli/chatting/attaching/media.py).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

MediaKind = Literal["image", "sound", "pdf"]


class MediaFormat(NamedTuple):
    """What a file is, and the name of its format."""

    kind: MediaKind
    format: str


RIFF_OFFSET = 8  # of the type of a RIFF file, behind its length
BMP_HEADER_BYTES = 14
_SIGNATURES: tuple[tuple[int, bytes, MediaFormat], ...] = (
    (0, b"\xff\xd8\xff", MediaFormat("image", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", MediaFormat("image", "PNG")),
    (0, b"GIF87a", MediaFormat("image", "GIF")),
    (0, b"GIF89a", MediaFormat("image", "GIF")),
    (RIFF_OFFSET, b"WEBP", MediaFormat("image", "WEBP")),
    (0, b"II*\x00", MediaFormat("image", "TIFF")),
    (0, b"MM\x00*", MediaFormat("image", "TIFF")),
    (4, b"ftypavif", MediaFormat("image", "AVIF")),
    (RIFF_OFFSET, b"WAVE", MediaFormat("sound", "WAV")),
    (0, b"fLaC", MediaFormat("sound", "FLAC")),
    (0, b"OggS", MediaFormat("sound", "OGG")),
    (0, b"ID3\x02", MediaFormat("sound", "MP3")),
    (0, b"ID3\x03", MediaFormat("sound", "MP3")),
    (0, b"ID3\x04", MediaFormat("sound", "MP3")),
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


def kind_of(data: bytes) -> MediaFormat | None:
    """Return the kind of a file that localrun reads, or None."""
    for offset, signature, kind in _SIGNATURES:
        is_other = offset == RIFF_OFFSET and not data.startswith(b"RIFF")
        if data.startswith(signature, offset) and not is_other:
            return kind
    if data.startswith(b"BM") and b"\x00" in data[:BMP_HEADER_BYTES]:
        return MediaFormat("image", "BMP")
    return MediaFormat("sound", "MP3") if _is_mpeg_frame(data[:3]) else None


def unread_format(data: bytes) -> str | None:
    """Return the format of a file that localrun recognizes but does not read, or None."""
    return next(
        (name for offset, mark, name in _KNOWN_BUT_UNREAD if data.startswith(mark, offset)), None
    )


def _is_mpeg_frame(head: bytes) -> bool:
    """Return whether three bytes begin a frame of MPEG audio of layer II or III (ISO 11172-3).

    Layer I is left out: its frames begin like text in UTF-16.
    """
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - eleven ones
        return False
    version, layer, bitrate, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2
    return version != 1 and layer in {1, 2} and bitrate != 15 and rate & 3 != 3  # noqa: PLR2004 - reserved values
