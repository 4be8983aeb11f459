from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from localrun.cli.chatting.prompt.line.toolbar import Toolbar, fitting


def test_a_toolbar_is_computed_only_when_asked() -> None:
    count = 0

    def text() -> str:
        nonlocal count
        count += 1
        return f"number {count}"

    toolbar = Toolbar(text)
    toolbar.refresh()

    assert [toolbar.fragments(80) for _ in range(3)] == [[("class:toolbar", "number 1")]] * 3


def test_a_narrow_screen_cuts_it_by_columns() -> None:
    toolbar = Toolbar(lambda: [("bold", "日本語モデル"), ("", "  82 % of 2,048 tokens")])
    toolbar.refresh()

    for columns in range(1, 40):
        line = "".join(text for _, text in toolbar.fragments(columns))
        assert get_cwidth(line) < columns
        assert line.endswith("…") or columns > 34 or columns == 1


def test_what_fits_is_not_cut() -> None:
    assert fitting([("", "abc"), ("dim", "de")], 5) == [("", "abc"), ("dim", "de")]


def test_names_cannot_control_the_terminal() -> None:
    toolbar = Toolbar(lambda: "model \x1b[31mred\nline")
    toolbar.refresh()

    assert toolbar.fragments(80) == [("class:toolbar", "model ?[31mred line")]
