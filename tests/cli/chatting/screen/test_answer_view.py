"""Thoughts and text of an answer on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyte

from localrun.cli.chatting.screen.answer_view import PlainAnswer, RichAnswer, ViewOptions
from localrun.cli.rendering.look import TerminalLook

if TYPE_CHECKING:
    from collections.abc import Callable

THOUGHT = "Let me see. " * 30


class Shown:
    """What a terminal shows of an answer."""

    def __init__(self, columns: int = 40) -> None:
        self._screen = pyte.Screen(columns, 30)
        self._stream = pyte.Stream(self._screen)
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text
        self._stream.feed(text.replace("\n", "\r\n"))

    def lines(self) -> list[str]:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")


def clock() -> Callable[[], float]:
    times = iter([10.0, 13.2, 20.0, 21.0])
    return lambda: next(times)


def answer(shown: Shown, columns: int = 40, **options: bool) -> RichAnswer:
    view = ViewOptions(width=lambda: columns, look=TerminalLook(), **options)
    return RichAnswer(shown.write, view, clock())


def test_a_thought_is_one_line_while_it_goes_on_and_when_it_is_done() -> None:
    shown = Shown()
    view = answer(shown)

    for start in range(0, len(THOUGHT), 7):
        view.thought(THOUGHT[start : start + 7])
        assert len(shown.lines()) == 1
    view.content("**Yes**.")
    view.finish()

    assert shown.lines() == ["(thought for 3.2 s, 90 words)", "", "Yes."]
    assert view.folded_text == THOUGHT


def test_a_thought_after_text_leaves_the_text() -> None:
    shown = Shown()
    view = answer(shown)

    view.content("Some text ")
    view.thought("hm")
    view.content("and more.")
    view.finish()

    assert shown.lines() == ["Some text", "(thought for 3.2 s, 1 word)", "", "and more."]


def test_a_wide_screen_names_the_key_that_unfolds() -> None:
    shown = Shown(columns=80)
    view = answer(shown, columns=80)
    view.thought("one")
    view.finish()

    assert shown.lines() == ["(thought for 3.2 s, 1 word; Ctrl-O shows it)"]


def test_an_unfolded_thought_is_printed_whole_and_streams_on() -> None:
    shown = Shown()
    view = answer(shown)
    view.thought("first ")
    view.toggle_fold()
    view.thought("second ")
    view.thought("third")
    view.finish()

    assert shown.lines()[0] == "first second third"
    assert "Ctrl-O" not in shown.text


def test_hidden_thoughts_leave_nothing_but_can_be_unfolded_later() -> None:
    shown = Shown()
    view = answer(shown, hides_thoughts=True)
    view.thought(THOUGHT)
    view.content("Yes.")
    view.finish()

    assert shown.lines() == ["Yes."]
    assert view.folded_text == THOUGHT


def test_a_thought_of_wide_characters_never_wraps() -> None:
    shown = Shown(columns=20)
    view = answer(shown, columns=20)

    for _ in range(50):
        view.thought("世界")
        assert len(shown.lines()) == 1


def test_an_answer_without_text_leaves_the_cursor_at_the_beginning_of_a_line() -> None:
    shown = Shown()
    view = answer(shown)
    view.thought("hm")
    view.finish()
    shown.write("next")

    assert shown.lines()[-1] == "next"


def test_thoughts_of_a_model_do_not_control_the_terminal() -> None:
    for is_unfolded in (False, True):
        shown = Shown()
        view = answer(shown, is_unfolded=is_unfolded)
        view.thought("a\x1b[2J\x07b\r\n")
        view.finish()
        assert "\x1b[2J" not in shown.text
        assert "\x07" not in shown.text


def test_a_plain_answer_is_the_text_itself() -> None:
    parts: list[str] = []
    view = PlainAnswer(parts.append)

    view.thought("hm")
    view.content("**Yes**\x1b[2J")
    view.finish()

    assert "".join(parts) == "Thinking...\nhm\n...done thinking.\n\n**Yes**?[2J\n"


def test_a_plain_answer_hides_thoughts_too() -> None:
    parts: list[str] = []
    view = PlainAnswer(parts.append, hides_thoughts=True)

    view.thought("hm")
    view.content("Yes\n")
    view.finish()

    assert "".join(parts) == "Yes\n"
