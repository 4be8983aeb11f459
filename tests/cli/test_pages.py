"""Help pages as text: blocks, tables and lists, for pipes and for terminals of any width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localrun.cli.pages import Look, render

HELP = Path(__file__).parents[2] / "localrun" / "docs" / "help"
COLORS = re.compile(r"\x1b\[\d*m")
PAGE = """# Title

One line
of **two** with `a span`.

- first item
  that goes on
- second

```sh network
localrun pull x   # kept

  as it is
```

| name | meaning |
|---|---|
| `a\\|b` | a word, and then some more words |

<!-- not shown -->
"""


def test_in_a_pipe_a_page_keeps_its_lines_and_has_no_marks_of_blocks() -> None:
    assert render(PAGE, Look()) == (
        "Title\n\nOne line\nof two with `a span`.\n\n- first item\n  that goes on\n- second\n\n"
        "    localrun pull x   # kept\n\n      as it is\n\n"
        "name    meaning\n`a|b`   a word, and then some more words\n"
    )


def test_on_a_terminal_paragraphs_and_last_columns_fit_its_width() -> None:
    text = render(PAGE, Look(width=34))

    assert "One line of two with `a span`." in text
    assert "- first item that goes on\n- second" in text
    assert "`a|b`   a word, and then some more\n        words\n" in text


def test_colors_take_the_place_of_marks_and_no_columns() -> None:
    text = render(PAGE, Look(width=60, has_color=True))

    assert "\x1b[1mTitle\x1b[0m" in text
    assert "\x1b[36ma span\x1b[0m" in text
    assert "\na|b    a word" in COLORS.sub("", text)


@pytest.mark.parametrize("page", sorted(HELP.glob("*.md")), ids=lambda page: page.stem)
def test_no_word_of_a_page_is_lost_at_any_width(page: Path) -> None:
    plain = render(page.read_text(), Look())

    for width in (40, 80):
        narrow = COLORS.sub("", render(page.read_text(), Look(width=width, has_color=True)))
        assert _letters(narrow) == _letters(plain)


def _letters(text: str) -> list[str]:
    """Return the letters; columns are read by rows, so their order may differ."""
    return sorted(re.sub(r"[\s`]", "", text))
