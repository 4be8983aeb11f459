"""Kinds of files by their first bytes."""

from __future__ import annotations

import pytest

from localrun.cli.chatting.attaching.media import kind_of


@pytest.mark.parametrize(
    ("head", "ending", "kind", "form"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", ".txt", "image", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\x00", "", "image", "PNG"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "", "image", "WEBP"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "", "sound", "WAV"),
        (b"ID3\x04\x00", ".mp3", "sound", "MP3"),
        (b"ID3 is a tag", ".mp3", "text", "utf-8"),
        (b"\xff\xfa\x90\x64", "", "sound", "MP3"),
        (b"\xff\xe3\x18\xc4", "", "sound", "MP3"),
        (b"\x1aE\xdf\xa3\x9fB\x86", "", "sound", "WebM"),
        (b"\0\0\0\x20ftypisom", "", "sound", "MP4"),
        (b"\0\0\0\x20ftypM4A ", "", "sound", "M4A"),
        (b"\0\0\0\x20ftypM4B ", "", "sound", "MP4"),
        (b"\0\0\0\x18ftypheix", "", "image", "HEIC"),
        (b"BM\x36\0\0\0\0\0", "", "image", "BMP"),
        (b"<svg/>", "", "text", "utf-8"),
        (b"{\\rtf1", "", "document", "RTF document"),
        (b"%PDF-1.7\n", ".jpg", "document", "PDF document"),
        (b"PK\x03\x04\x14\x00", ".docx", "document", "Word document"),
        (b"PK\x03\x04\x14\x00", ".zip", "binary", "binary file"),
        (b"\x7fELF\x02\x00", "", "binary", "binary file"),
        (b"hello", ".jpg", "text", "utf-8"),
        (b"12345678WAVE is text", "", "text", "utf-8"),
        (b"\xef\xbb\xbfhello", "", "text", "utf-8-sig"),
        (b"\xff\xfeh\x00i\x00", "", "text", "utf-16"),
        (b"\xfe\xff\x00h\x00i", "", "text", "utf-16"),
        (b"\xff\xfe\x00\x00h\x00\x00\x00", "", "text", "utf-32"),
        (b"BM is a car maker", "", "text", "utf-8"),
        (b"", ".png", "text", "utf-8"),
    ],
)
def test_the_first_bytes_decide(head: bytes, ending: str, kind: str, form: str) -> None:
    found = kind_of(head, ending)

    assert (found.kind, found.form) == (kind, form)
