"""Bytes to text, and places in it."""

from __future__ import annotations

import codecs
import unicodedata

import pytest

from localrun.errors import UsageError
from localrun.modelfile.quoting import LEADING
from localrun.modelfile.source import MAX_BYTES, SourceText, decode_source
from tests.measuring import LINEAR, growth

TEXT = "FROM bob\r\nSYSTEM Grüße, 世界\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
    ],
)
def test_every_form_of_unicode_is_known(content: bytes) -> None:
    source = decode_source(content, "Modelfile")

    assert source.text == TEXT
    assert source.first_replaced is None


def test_bytes_that_are_no_text_are_replaced_and_found() -> None:
    source = decode_source(b"SYSTEM Gr\xfc\xdfe", "Modelfile")

    assert source.text == "SYSTEM Gr\ufffd\ufffde"
    assert source.first_replaced == 9


def test_nul_is_dropped() -> None:
    assert decode_source(b"FROM a\0b", "Modelfile").text == "FROM ab"
    assert decode_source(b"", "Modelfile").text == ""


def test_the_size_is_bounded() -> None:
    with pytest.raises(UsageError, match="at most 8388608") as caught:
        decode_source(b" " * (MAX_BYTES + 1), "Modelfile")

    assert caught.value.hint


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (0, (1, 1, "a")),
        (1, (1, 2, "a")),
        (3, (2, 1, "")),
        (4, (3, 1, "bc")),
        (6, (3, 3, "bc")),
        (7, (4, 1, "")),
    ],
)
def test_lines_end_at_any_newline(offset: int, place: tuple[int, int, str]) -> None:
    found = SourceText(name="x", text="a\r\n\rbc\n").position(offset)

    assert (found.line, found.column, found.text) == place


def test_no_other_character_ends_a_line() -> None:
    text = "a\x0b\x0c\x1c\x85\u2028\u2029b"

    assert SourceText(name="x", text=text).position(len(text)).line == 1


def test_what_is_invisible_does_not_print() -> None:
    for code in range(0x110000):
        char = chr(code)
        is_invisible = LEADING.fullmatch(char) is not None
        if unicodedata.category(char) in {"Cc", "Zs", "Zl", "Zp"} and char not in "\r\n":
            assert is_invisible, hex(code)
        elif is_invisible:
            assert unicodedata.category(char) == "Cf", hex(code)


def test_the_time_to_find_a_place_grows_with_the_size_of_the_text() -> None:
    def line(size: int) -> int:
        return SourceText(name="x", text="\r\n" * (size // 2)).position(size).line

    assert line(MAX_BYTES) == MAX_BYTES // 2 + 1
    assert growth(line, MAX_BYTES) < LINEAR
