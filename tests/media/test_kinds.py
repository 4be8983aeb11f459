"""Kinds of media by their first bytes; what only resembles them is none."""

from __future__ import annotations

import pytest

from localrun.media.kinds import kind_of


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"\xff\xfb\x90\x64", "MP3"),  # layer III of MPEG 1, 2 and 2.5, with and without a CRC
        (b"\xff\xfa\x90\x64", "MP3"),
        (b"\xff\xf3\x40\xc4", "MP3"),
        (b"\xff\xe3\x18\xc4", "MP3"),
        (b"\xff\xfd\x84\x04", "MP3"),  # layer II
        (b"ID3\x03\0", "MP3"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "WAV"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WEBP"),
        (b"BM\x36\0\0\0\0\0", "BMP"),
    ],
)
def test_the_first_bytes_name_the_format(data: bytes, form: str) -> None:
    found = kind_of(data)

    assert found is not None
    assert found.format == form


@pytest.mark.parametrize(
    "data",
    [
        "Hello".encode("utf-16"),
        "\u4f60\u597d".encode("utf-16"),
        "Hello".encode("utf-32"),
        b"\xff\xff\xff\xff",
        b"\xff\xfb",
        b"\xff\xfb\xf0\0",  # the reserved bit rate
        b"\xff\xfb\x9c\0",  # the reserved sample rate
        b"\xff\xeb\x90\0",  # the reserved version
        b"\xff\xf1\x50\x80",  # AAC
        b"12345678WAVE is text",
        b"BM is a car maker",
        b"ID3 is a tag",
    ],
)
def test_what_resembles_them_is_none(data: bytes) -> None:
    assert kind_of(data) is None
