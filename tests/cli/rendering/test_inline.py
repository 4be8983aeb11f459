"""Inline Markdown: emphasis, code and links, however the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.rendering.inline import HOLD, InlineStream, parse_inline
from localrun.cli.rendering.look import Style
from tests.measuring import grows_linearly

MARKS = ["*", "**", "***", "_", "__", "`", "``", "~~", "[", "](http://a)", "!", "<http://x>", "<"]
PIECES = [*MARKS, "\\", "a", " ", "b c", "世", ")", "]", "x" * 149, "*" * HOLD]


def pieces(text: str, cuts: list[int] | None = None) -> list[tuple[str, Style]]:
    """Return the pieces of a text that arrives in parts; neighbours of one style are joined."""
    found: list[tuple[str, Style]] = []

    def add(style: Style, piece: str) -> None:
        if found and found[-1][1] == style:
            found[-1] = (found[-1][0] + piece, style)
        else:
            found.append((piece, style))

    stream, start = InlineStream(add), 0
    for length in cuts or []:
        stream.feed(text[start : start + length])
        start += length
    stream.feed(text[start:])
    stream.finish()
    return found


@pytest.mark.parametrize(
    ("text", "piece", "style"),
    [
        ("a **bold** b", "bold", Style(is_bold=True)),
        ("a *slanted* b", "slanted", Style(is_italic=True)),
        ("a _slanted_ b", "slanted", Style(is_italic=True)),
        ("***both***", "both", Style(is_bold=True, is_italic=True)),
        ("`a * b`", "a * b", Style(is_code=True)),
        ("`` a`b ``", "a`b", Style(is_code=True)),
        ("~~gone~~", "gone", Style(is_struck=True)),
        ("[text](https://a.b/c)", "text", Style(link="https://a.b/c")),
        ("[text](https://a.b/c_(d))", "text", Style(link="https://a.b/c_(d)")),
        ("<https://a.b>", "https://a.b", Style(link="https://a.b")),
        ("**a *b* c**", "b", Style(is_bold=True, is_italic=True)),
    ],
)
def test_marked_text_has_a_style_and_no_marks(text: str, piece: str, style: Style) -> None:
    found = pieces(text)

    assert (piece, style) in found
    assert not any(mark in part for part, _ in found for mark in ("**", "~~", "]("))


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4", "snake_case_name", "an **open end", "a ` tick", "[text](javascript:x)",
        "a [b] c", "* not an item", "f(x)[0](y)", "<b>", "a < b > c", "**", "~~", "5 ~ 6",
    ],
)  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    assert pieces(text) == [(text, Style())]


def test_a_backslash_protects_a_mark() -> None:
    assert pieces(r"\*a\* \_ \n") == [(r"*a* _ \n", Style())]


def test_no_character_of_control_is_part_of_a_link() -> None:
    (piece,) = pieces("[a](http://x\x07y)")

    assert piece[1].link == ""


@given(st.lists(st.sampled_from(PIECES), max_size=20), st.lists(st.integers(1, 5), max_size=40))
def test_the_cuts_of_a_text_do_not_matter(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)

    assert pieces(text, cuts) == pieces(text)


@given(st.text(max_size=50))
def test_nothing_but_marks_is_lost(text: str) -> None:
    found = "".join(piece for piece, _ in pieces(text))

    assert [c for c in found if c.isalnum()] == [c for c in text if c.isalnum()] or "](" in text


@pytest.mark.parametrize(
    "unit", ["*", "*a ", "`", "[a", "_a_", "<", "**a", "`a ``b ", "![[", "[a]((", "[a]("]
)
def test_time_grows_with_the_length(unit: str) -> None:
    def parse(size: int) -> None:
        parse_inline(unit * (size // len(unit)), lambda _style, _text: None)

    assert grows_linearly(parse, 8000)
