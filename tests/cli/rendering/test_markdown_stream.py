"""Markdown of a stream on a screen: final text, exact code, widths, tables, bounded time."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.rendering.code_blocks import code_blocks
from localrun.cli.rendering.line_writer import cells
from localrun.cli.rendering.look import PLAIN_LOOK, TerminalLook
from localrun.cli.rendering.markdown_stream import MarkdownStream
from tests.measuring import grows_linearly

LOOK = TerminalLook(has_links=True)
PARTS = [
    "# ", "\n", "**", "- ", "1. ", "```\n", "```python\n", "|a|b|\n", "|-|-|\n", "> ", "---",
    "text ", "世界", "`", "  ", "x = 1", "~~~\n", "***", "\t", "#", "\x1b[31m", "👩‍👩‍👧", "> ```\n",
    "x" * 90, "-" * 120, "*" * 160, "~" * 70, "[a **b**](http://x(y))", "|" + "a" * 3900,
]  # fmt: skip
CODE = '''def greet(name):
    """Say "hello"
    to somebody."""
    if name:                      # a comment that is longer than the screen is wide, by some words
        return f"hello {name}"

\treturn None  # 世界
'''
TABLE = """| Name | Value | Remark |
|:-----|------:|--------|
| a `x|y` | 1 | **short** |
| 世界 | 22 | a remark that is far too long for one line of a narrow terminal |
"""


def rendered(
    text: str, *, width: int | None = 60, look: TerminalLook = LOOK, cuts: list[int] | None = None
) -> str:
    parts: list[str] = []
    stream, start = MarkdownStream(parts.append, width=lambda: width, look=look), 0
    for length in cuts or []:
        stream.feed(text[start : start + length])
        start += length
    stream.feed(text[start:])
    stream.finish()
    return "".join(parts)


def on_screen(text: str, *, columns: int = 60) -> list[str]:
    """Return the lines that a terminal shows."""
    screen = pyte.HistoryScreen(columns, 10, history=10_000)
    pyte.Stream(screen).feed(rendered(text, width=columns).replace("\n", "\r\n"))
    history = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    lines = [line.rstrip() for line in [*history, *screen.display]]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def plain(text: str, *, width: int | None = 60) -> str:
    return rendered(text, width=width, look=PLAIN_LOOK)


def test_lines_are_wrapped_between_words() -> None:
    assert plain("one two three four\nfive", width=9) == "one two\nthree\nfour\nfive\n"


def test_a_word_that_is_wider_than_a_line_is_cut() -> None:
    assert plain("abcdefghij", width=4) == "abcd\nefgh\nij\n"


def test_wide_characters_are_wrapped_by_their_width_not_before_a_full_stop() -> None:
    lines = plain("世界和平" * 3 + "。", width=10).splitlines()

    assert all(cells(line) <= 10 for line in lines)
    assert "".join(lines) == "世界和平" * 3 + "。"
    assert not lines[-1].startswith("。")


def test_emoji_and_combining_marks_are_not_torn() -> None:
    family, accent = "👩‍👩‍👧", "e\u0301"

    lines = plain(f"{family} {accent * 6} {family}", width=8).splitlines()

    assert lines == [family, accent * 6, family]


def test_items_hang_under_their_text() -> None:
    text = "- one two three\n  - nested item here\n10. ten eleven twelve"

    assert plain(text, width=12) == (
        "• one two\n  three\n  • nested\n    item\n    here\n10. ten\n    eleven\n    twelve\n"
    )


def test_quotes_have_a_bar_on_each_line() -> None:
    assert plain("> one two three\n> > deep", width=10) == "│ one two\n│ three\n│ │ deep\n"


def test_headings_and_rules() -> None:
    assert rendered("## Head **bold**\n").startswith("\033[1mHead")
    assert plain("# Head\n---\n") == "# Head\n" + "─" * 40 + "\n"
    assert plain("#hashtag\n-5 degrees") == "#hashtag\n-5 degrees\n"


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_code_is_on_the_screen_as_the_model_wrote_it(columns: int) -> None:
    lines = on_screen(f"Look:\n```python\n{CODE}```\nDone.", columns=columns)

    shown = "\n".join(lines)
    for line in CODE.splitlines():
        parts = [line[start : start + columns] for start in range(0, len(line), columns)]
        if line.isascii() and "\t" not in line:
            assert "\n".join(part.rstrip() for part in parts) in shown
    assert rendered(f"```\n{CODE}```", look=PLAIN_LOOK) == f"```\n{CODE}```\n"


def test_highlighted_code_keeps_every_character() -> None:
    screen = pyte.Screen(200, 20)
    pyte.Stream(screen).feed(rendered(f"```python\n{CODE}```").replace("\n", "\r\n"))

    assert [line.rstrip() for line in screen.display[1:7]] == [
        line.expandtabs(8).rstrip() for line in CODE.splitlines()[:6]
    ]


def test_a_fence_ends_only_with_its_like() -> None:
    text = "````\n```\ninner\n```\n````\nafter **b**"

    assert code_blocks(text)[0].text == "```\ninner\n```\n"
    assert rendered(text).endswith("\033[1mb\033[0m\n")


def test_blocks_of_code_are_exact_and_without_the_indentation_of_their_item() -> None:
    text = f"1. Do\n   ```python\n   a = 1\n     b\n   ```\n\n~~~\n{CODE}~~~\n```sh\nopen"

    blocks = code_blocks(text)

    assert [block.text for block in blocks] == ["a = 1\n  b\n", CODE, "open"]
    assert [block.language for block in blocks] == ["python", "", "sh"]


def test_three_backticks_within_a_line_do_not_begin_a_block() -> None:
    assert plain("```inline``` text\n*after*") == "inline text\nafter\n"
    assert code_blocks("```inline``` text\nafter") == []


@pytest.mark.parametrize("end", ["> ```\n", "\n"])
def test_code_in_a_quote_has_no_quote_marks_and_ends_with_the_quote(end: str) -> None:
    text = f"> ```py\n> x = 1\n>   y\n{end}after **b**"

    assert plain(text).startswith("```py\nx = 1\n  y\n")
    assert plain(text).endswith("after b\n")
    assert [block.text for block in code_blocks(text)] == ["x = 1\n  y\n"]


def test_an_indented_fence_is_part_of_the_code() -> None:
    code = 'def f():\n    """\n    ```\n    example\n    ```\n    """\n'
    text = f"```python\n{code}```\nafter **b**"

    assert plain(text) == f"```python\n{code}```\nafter b\n"
    assert [block.text for block in code_blocks(text)] == [code]


@pytest.mark.parametrize("text", ["-" * 500, "=" * 500, "|" + "a" * 9000, "`" * 500])
def test_no_long_line_is_lost(text: str) -> None:
    assert plain(text, width=None) == f"{text}\n"


def test_tabs_nest_items() -> None:
    assert plain("- a\n\t- b\n\t\t- c") == "• a\n    • b\n        • c\n"


def test_deep_nesting_leaves_half_of_a_narrow_screen() -> None:
    lines = plain(" " * 24 + "- deep nested item\n" + "> " * 8 + "quoted", width=20).splitlines()

    assert [line.strip(" •│") for line in lines] == ["deep", "nested", "item", "quoted"]
    assert all(cells(line) <= 20 for line in lines)


def test_a_table_is_aligned_by_cells() -> None:
    lines = plain(TABLE, width=200).splitlines()

    assert lines[0].split() == ["Name", "Value", "Remark"]
    assert lines[2].startswith("a x|y      1  short")
    assert cells(lines[3][: lines[3].index("22")]) == cells(lines[2][: lines[2].index("1")]) - 1


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_wide_table_is_wrapped_in_its_cells(width: int) -> None:
    lines = plain(TABLE, width=width).splitlines()

    assert all(cells(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()).count("remark") == 1


def test_a_table_that_cannot_fit_becomes_records() -> None:
    lines = plain(TABLE, width=20).splitlines()

    assert lines[:3] == ["Name: a x|y", "Value: 1", "Remark: short"]
    assert all(cells(line) <= 20 for line in lines)


def test_bars_without_a_delimiter_are_text() -> None:
    assert plain("| a | b |\nmore") == "| a | b |\nmore\n"


def test_links_name_their_target_where_the_terminal_has_none() -> None:
    assert plain("see [the docs](https://a.b/c) now") == "see the docs (https://a.b/c) now\n"
    assert plain("[a **b** c](https://d) e") == "a b c (https://d) e\n"
    assert "\033]8;;https://a.b/c\033\\docs\033]8;;\033\\" in rendered("[docs](https://a.b/c)")


def test_escape_sequences_of_a_model_do_not_reach_the_terminal() -> None:
    hostile = "a\x1b[2Jb \x1b]52;c;aGk=\x07 `\x1b[31m` \x9b1m\n```\n\x1b[2J\n```\n[x](http://a\x1b)"

    text = rendered(hostile, look=PLAIN_LOOK)

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x9b" not in text


def test_no_color_keeps_bold_and_drops_colors() -> None:
    look = TerminalLook.of({"NO_COLOR": "1", "TERM": "xterm"})

    text = rendered("**b** `c`\n```python\nx = 1\n```", look=look)

    assert "\033[1m" in text
    assert "\033[3" not in text


def test_words_appear_before_their_line_ends() -> None:
    parts: list[str] = []
    stream = MarkdownStream(parts.append, width=lambda: 80, look=PLAIN_LOOK)

    stream.feed("Some words of ")

    assert "".join(parts) == "Some words of"


def test_blank_lines_at_the_ends_are_left_out() -> None:
    assert plain("\n\na\n\n\n\n\nb\n\n") == "a\n\n\nb\n"
    assert plain("") == ""


@given(st.lists(st.sampled_from(PARTS), max_size=15), st.lists(st.integers(1, 5), max_size=40))
def test_the_cuts_of_a_text_do_not_matter(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)

    assert rendered(text, width=20, cuts=cuts) == rendered(text, width=20)


@given(st.text(alphabet="ab 世-*`|>#\n1.", max_size=200), st.integers(4, 40))
def test_lines_of_text_fit_the_width(text: str, width: int) -> None:
    lines = plain(text.replace("`", "").replace("|", ""), width=width).splitlines()

    assert all(cells(line.rstrip()) <= max(width, 32) for line in lines)


@pytest.mark.parametrize(
    "unit",
    ["word ", "x", "*", "> ", "|a", "|a|\n", "- ", "\n", "世", "```\nx = 1\n", "# ", "1. ", "a\n"],
)
def test_time_grows_with_the_length(unit: str) -> None:
    assert grows_linearly(lambda size: rendered(unit * (size // len(unit))), 20_000)


def test_half_a_thousand_lines_of_one_block() -> None:
    code = "".join(f"value_{number} = {number}\n" for number in range(500))

    shown = on_screen(f"```python\n{code}```")

    assert shown[1:-1] == code.splitlines()
