"""The line editor on a pseudo terminal, with the screen read back."""

from __future__ import annotations

import sys

import pytest

assert sys.platform != "win32"

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.history import append_history, read_history
from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.cli.chatting.prompt.typist import NUM_QUESTIONS
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[4]
TYPIST = [sys.executable, "-m", "tests.cli.chatting.prompt.typist"]
BASH = ["bash", "--norc", "--noprofile", "-i"]
COOKED = {"ECHO": True, "ICANON": True, "ISIG": True, "IEXTEN": True}
LEAVE_HINT = "press Ctrl-C again or Ctrl-D to leave"
Start = "Callable[..., PtyScreen]"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    own = {
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "PS1": "$ ",
        "TYPIST_HISTORY": str(tmp_path / "history"),
        "TYPIST_END": str(tmp_path / "end"),
        "VISUAL": "",
        "EDITOR": "sed -i s/old/new/",
        "LC_ALL": "C.UTF-8",
    }
    return {**os.environ, **own}


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[..., PtyScreen]]:
    """Return a function that starts the typist and waits for its prompt."""
    started: list[PtyScreen] = []

    def begin(*words: str, columns: int = 80, lines: int = 24, **variables: str) -> PtyScreen:
        screen = PtyScreen(
            [*TYPIST, *words], {**environ, **variables}, columns=columns, lines=lines
        )
        started.append(screen)
        screen.wait_for(">>>")
        if "--plain" not in words and variables.get("TERM") != "dumb":
            screen.wait_for("the toolbar")
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


def test_a_message_stays_once_and_the_toolbar_vanishes(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("hello")
    screen.wait_for(">>> hello\nthe toolbar")

    screen.key("enter")

    screen.wait_for("ready\n>>> hello\n<hello> 5/1\n>>>\nthe toolbar")


def test_lines_are_added_by_keys_quotes_and_a_backslash(start: Callable[..., PtyScreen]) -> None:
    screen = start()

    screen.type("one\x1b\rtwo\r")
    screen.wait_for(">>> one\n... two\n<one\ntwo> 7/2")
    screen.type('"""three\rfour"""\r')
    screen.wait_for('>>> """three\n... four"""\n<three\nfour> 10/2')
    screen.type("five\\\rsix\r")
    screen.wait_for(">>> five\n... six\n<five\nsix> 8/2")


def test_ten_thousand_lines_arrive_whole_and_folded(start: Callable[..., PtyScreen]) -> None:
    text = "".join(f"line {number} of a paste\r\n" for number in range(10_000))
    screen = start()

    screen.type("explain ")
    screen.paste(text)
    screen.wait_for(">>> explain [paste 1: 10,000 lines]\nthe toolbar")
    screen.type(" now\r")

    size = len("explain  now") + len(text.replace("\r\n", "\n"))
    screen.wait_for(f"> {size}/10001")
    assert "line 5000" not in screen.everything()


def test_a_marker_is_deleted_as_a_whole(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("a ")
    screen.paste("x\n" * 100)
    screen.wait_for("[paste 1: 100 lines]")

    screen.key("backspace")
    screen.wait_for(">>> a\nthe toolbar")
    screen.type("b\r")

    screen.wait_for("<a b> 3/1")


def test_a_short_paste_is_text_and_is_not_sent(start: Callable[..., PtyScreen]) -> None:
    screen = start()

    screen.paste("one\ntwo\n")
    screen.wait_for(">>> one\n... two\n...\nthe toolbar")
    screen.key("enter")

    screen.wait_for("<one\ntwo\n> 8/3")


@pytest.mark.parametrize("columns", [20, 80])
def test_the_cursor_moves_over_wide_and_combined_letters(
    start: Callable[..., PtyScreen], columns: int
) -> None:
    screen = start(columns=columns)
    screen.type("漢字 e\u0301 👍 z")
    screen.wait_for(lambda text: "z" in text)
    assert screen.cursor()[1] == len(">>> ") + 4 + 1 + 1 + 1 + 2 + 2

    for _ in range(8):
        screen.key("left")
    wait_until(lambda: screen.cursor()[1] == len(">>> "))
    screen.type("日")
    wait_until(lambda: screen.cursor()[1] == len(">>> ") + 2)
    for _ in range(4):
        screen.key("right")
    screen.key("backspace")
    screen.key("enter")

    screen.wait_for("<日漢字  👍 z> 8/1")


def test_twenty_columns_wrap_a_message(start: Callable[..., PtyScreen]) -> None:
    screen = start(columns=20, lines=10)

    screen.type("abcdefghij" * 4)
    screen.wait_for("abcdefghijabcdef")
    screen.key("home")
    screen.type("X")
    screen.wait_for(">>> Xabcdefghijabcde")
    screen.key("enter")

    screen.wait_for("41/1")
    assert screen.everything().replace("\n", "").count("Xabcdefghij") == 2


def test_a_message_taller_than_the_screen_stays_whole(start: Callable[..., PtyScreen]) -> None:
    screen = start(lines=8)
    for number in range(10):
        screen.type(f"row {number}\x1b\r")
    screen.wait_for("row 9")

    screen.key("enter")
    screen.wait_for("/11")

    assert [screen.everything().count(f"row {number}\n") for number in range(10)] == [2] * 10


def test_the_window_changes_its_size_while_a_message_is_typed(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start()
    screen.type("a message that is typed")
    screen.wait_for("typed\nthe toolbar")

    screen.resize(40, 12)
    screen.wait_for("typed\nthe toolbar")
    screen.type(" further")
    screen.wait_for("further\nthe toolbar")
    screen.resize(100, 30)
    screen.key("enter")

    screen.wait_for("<a message that is typed further> 31/1")


def test_interrupts_empty_the_line_and_leave(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("never sent")
    screen.wait_for("never sent")

    screen.key("c-c")
    screen.wait_for(">>>\nthe toolbar")
    screen.key("c-c")
    screen.wait_for(LEAVE_HINT)
    screen.type("x")
    screen.wait_for(">>> x\nthe toolbar")
    screen.key("c-c")
    screen.wait_for(">>>\nthe toolbar")
    screen.key("c-c")
    screen.wait_for(LEAVE_HINT)
    screen.key("c-c")

    screen.wait_for("left")
    assert screen.exit_status() == 0
    assert screen.local_modes() == COOKED


def test_escape_twice_empties_the_line_and_alone_does_nothing(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start()

    screen.type("one\x1b\x1b")
    screen.wait_for(">>>\nthe toolbar")
    screen.type("two\x1b\r")
    screen.wait_for(">>> two\n...\nthe toolbar")


def test_end_of_input_leaves_only_an_empty_prompt(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("abc\x01\x04")
    screen.wait_for(">>> bc\nthe toolbar")

    screen.type("\x0b\x04")

    screen.wait_for("left")


def test_keys_call_back_and_the_prompt_comes_again(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("text")
    screen.wait_for(">>> text")

    screen.key("c-o")
    screen.wait_for("ready\n(folded)\n>>> text\nthe toolbar")
    screen.key("s-tab")
    screen.wait_for("(folded)\n(mode)\n>>> text\nthe toolbar")
    screen.key("c-l")
    screen.wait_for(lambda text: text == ">>> text\nthe toolbar")


@pytest.mark.parametrize("key", ["\x18\x05", "\x07"])
def test_the_editor_gets_the_text_with_its_pastes(
    start: Callable[..., PtyScreen], key: str
) -> None:
    screen = start()
    screen.type("old text ")
    screen.paste("old line\n" * 200)
    screen.wait_for("[paste 1: 200 lines]")

    screen.type(key)

    screen.wait_for(">>> [paste 1: 200 lines]\nthe toolbar")
    screen.key("enter")
    screen.wait_for("<new text old line")


def test_a_draft_can_be_edited(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("/draft\r")

    screen.wait_for(">>> a draft\nthe toolbar")
    screen.type("!\r")

    screen.wait_for("<a draft!>")


def test_the_history_is_searched_suggested_and_kept(
    start: Callable[..., PtyScreen], environ: dict[str, str]
) -> None:
    file = Path(environ["TYPIST_HISTORY"])
    for text in ("first message", "second\nof two lines", "y\n" * 500):
        append_history(file, text)
    screen = start()

    screen.key("up")
    screen.wait_for(">>> [paste 1: 500 lines]")
    screen.key("up")
    screen.wait_for(">>> second\n... of two lines\nthe toolbar")
    screen.key("c-c")
    screen.wait_for(">>>\nthe toolbar")
    screen.type("fir")
    screen.wait_for(">>> first message\nthe toolbar")
    screen.key("right")
    screen.key("enter")
    screen.wait_for("<first message>")
    screen.key("c-r")
    screen.type("two l")
    screen.wait_for("... of two lines")
    screen.type("\r")
    screen.type("\r")
    screen.wait_for("<second\nof two lines>")
    screen.type(" a secret\r")
    screen.wait_for("< a secret>")

    assert read_history(file)[3:] == ["first message", "second\nof two lines"]


def test_commands_and_models_are_completed(start: Callable[..., PtyScreen]) -> None:
    screen = start()

    screen.type("/mo")
    screen.wait_for("/model  switch the model")
    screen.type("\t")
    screen.wait_for(">>> /model")
    screen.type(" g")
    screen.wait_for("guide  8 MB")
    screen.type("\t\r")

    screen.wait_for("</model guide> 12/1")
    screen.type("/model ")
    screen.wait_for("other-model")
    screen.type("\t\t\r")
    screen.wait_for(">>> /model other-model\nthe toolbar")
    screen.type("\r")
    screen.wait_for("</model other-model>")
    assert "switch the model" not in screen.wait_for(">>>\nthe toolbar")


def test_a_source_that_never_answers_blocks_no_key(start: Callable[..., PtyScreen]) -> None:
    screen = start(TYPIST_SLOW="1")

    screen.type("/model g")
    screen.wait_for(">>> /model g")
    screen.type("uide\r")
    screen.wait_for("</model guide>")
    screen.wait_for(">>>\nthe toolbar")  # the keys of the next prompt, not an end of the terminal
    screen.key("c-d")

    screen.wait_for("left")
    assert screen.exit_status() == 0


def test_keys_typed_ahead_are_the_next_messages(
    start: Callable[..., PtyScreen], environ: dict[str, str]
) -> None:
    screen = start()
    screen.type("/answer\r")
    screen.wait_for("answering")

    screen.type("one\r")
    screen.paste("two\n" * 50)
    screen.type("\rthr\x1b[De")
    wait_until(lambda: screen.local_modes()["ECHO"] is False)
    Path(environ["TYPIST_END"]).touch()

    screen.wait_for(">>> one\n<one> 3/1\n>>> [paste 1: 50 lines]\n")
    screen.wait_for("> 200/51\n>>> ther\nthe toolbar")
    assert "complete" in screen.screen()


def test_keys_typed_between_prompts_are_not_echoed(
    start: Callable[..., PtyScreen], environ: dict[str, str]
) -> None:
    screen = start()
    screen.type("/work\r")
    screen.wait_for("working")

    screen.type("typed\rahead")
    wait_until(lambda: screen.local_modes()["ECHO"] is False)
    Path(environ["TYPIST_END"]).touch()

    screen.wait_for("working\n>>> typed\n<typed> 5/1\n>>> ahead\nthe toolbar")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the files of a process")
def test_keys_typed_before_a_question_are_kept_for_the_prompt(
    start: Callable[..., PtyScreen], environ: dict[str, str]
) -> None:
    screen = start()
    screen.type("/late\r")
    screen.wait_for("working")

    screen.type("say\r")
    wait_until(lambda: screen.num_unread() == len("say\n"))
    Path(environ["TYPIST_END"]).touch()
    screen.wait_for(lambda text: text.endswith("(Enter: n)"))
    screen.key("n")

    screen.wait_for("chosen n\n>>> say\n<say> 3/1")


def test_a_question_in_an_answer_has_the_keys(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("/answer with questions\r")

    for number in range(NUM_QUESTIONS):
        screen.wait_for(lambda text: text.endswith("(Enter: n)"))
        screen.key("a")
        screen.wait_for(f"(Enter: n) a\nchosen {number} a")
    screen.type("ahead")
    screen.key("c-c")

    screen.wait_for("interrupted\n>>> ahead\nthe toolbar")


@pytest.mark.parametrize("key", ["c-c", "esc"])
def test_an_answer_is_interrupted_once_by_a_key(start: Callable[..., PtyScreen], key: str) -> None:
    screen = start()
    for _ in range(3):
        screen.type("/answer\r")
        screen.wait_for(lambda text: text.endswith("answering"))
        screen.key("c-o")
        screen.wait_for(lambda text: text.endswith("(fold)"))

        screen.key(key)

        screen.wait_for("interrupted\n>>>\nthe toolbar")
    screen.key("c-d")
    assert screen.exit_status() == 0
    assert screen.local_modes() == COOKED


def test_an_interrupt_at_the_start_of_an_answer_leaves_no_reader_of_keys(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start(TYPIST_HASTE="1")
    for _ in range(3):
        screen.type("/answer\r")
        screen.wait_for(lambda text: text.endswith("interrupted\n>>>\nthe toolbar"))

        screen.type("heard\r")

        screen.wait_for(lambda text: text.endswith("<heard> 5/1\n>>>\nthe toolbar"))
    screen.key("c-d")
    assert screen.exit_status() == 0
    assert screen.local_modes() == COOKED


def test_an_interrupt_that_arrives_with_the_message_is_that_of_its_answer(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start()

    screen.type("/answer\r\x03\x03\x03")
    screen.wait_for("interrupted\n>>>\nthe toolbar")
    screen.type("heard\r")

    screen.wait_for("<heard> 5/1\n>>>\nthe toolbar")


def test_a_signal_from_outside_is_the_key_at_the_prompt(start: Callable[..., PtyScreen]) -> None:
    screen = start()
    screen.type("never sent")
    screen.wait_for("never sent")

    os.kill(screen.pid, signal.SIGINT)
    screen.wait_for(">>>\nthe toolbar")
    os.kill(screen.pid, signal.SIGINT)
    screen.wait_for(LEAVE_HINT)
    screen.type("/answer\r")
    screen.wait_for(lambda text: text.endswith("answering"))
    os.kill(screen.pid, signal.SIGINT)

    screen.wait_for("interrupted\n>>>\nthe toolbar")


def test_a_question_is_answered_by_a_key_and_not_by_earlier_ones(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start()
    for key, answer in (("a", "a"), ("c-c", "n"), ("esc", "n"), ("enter", "n")):
        screen.type("/choose\r")
        screen.wait_for(lambda text: text.endswith("(Enter: n)"))
        if len(key) == 1:
            screen.type("x")
            screen.type(key)
        else:
            screen.key(key)
        screen.wait_for(f"(Enter: n) {answer}\nchosen {answer}\n>>>\nthe toolbar")
        screen.key("c-l")
        screen.wait_for(lambda text: text == ">>>\nthe toolbar")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("text", "text\nthe"),
        ("/answer\r", "answering"),
        ("/choose\r", "Run it?"),
        ("/work\r", "working"),
    ],
)
def test_termination_restores_the_terminal(
    start: Callable[..., PtyScreen], name: str, typed: str, shown: str
) -> None:
    screen = start()
    screen.type(typed)
    screen.wait_for(shown)
    number = getattr(signal, name)

    os.kill(screen.pid, number)

    assert screen.exit_status() == 128 + number
    assert screen.local_modes() == COOKED
    assert screen.raw.rfind(b"\x1b[?2004l") > screen.raw.rfind(b"\x1b[?2004h")


@pytest.mark.parametrize(
    ("typed", "shown", "again"),
    [
        ("text", ">>> text\nthe toolbar", ">>> text\nthe toolbar"),
        ("/answer\r", "answering", ""),
    ],
)
def test_the_shell_stops_and_continues_the_job(
    environ: dict[str, str], typed: str, shown: str, again: str
) -> None:
    with PtyScreen(BASH, environ) as shell:
        shell.wait_for("$")
        shell.type(f"{' '.join(TYPIST)}\r")
        shell.wait_for("the toolbar")
        shell.type(typed)
        shell.wait_for(shown)

        shell.key("c-z")
        shell.wait_for("Stopped")
        shell.wait_for(lambda text: text.endswith("$"))
        shell.type("stty -a | grep -o ' -*icanon'; fg\r")
        shell.wait_for(lambda text: " icanon\n" in f"{text}\n" and "fg" in text)
        if again:
            shell.wait_for(lambda text: text.endswith(again))
            shell.type(" more\r")
            shell.wait_for("<text more>")
        else:
            wait_until(lambda: not shell.local_modes()["ICANON"])
            shell.key("c-z")
            shell.wait_for(lambda text: text.count("Stopped") == 2 and text.endswith("$"))
            shell.type("fg\r")
            wait_until(lambda: not shell.local_modes()["ECHO"])
            wait_until(lambda: not shell.local_modes()["ICANON"])
            shell.type("ahead")
            shell.key("esc")
            shell.wait_for("interrupted\n>>> ahead\nthe toolbar")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {}])
def test_a_plain_terminal_gets_no_escape_codes(
    start: Callable[..., PtyScreen], variables: dict[str, str]
) -> None:
    screen = start(*([] if variables else ["--plain"]), **variables)
    screen.type('"""one\rtwo"""\r')
    screen.wait_for("<one\ntwo> 7/2")
    screen.type("/answer\r")
    screen.wait_for("answering")

    screen.key("c-c")
    screen.wait_for("interrupted")
    screen.key("c-d")

    screen.wait_for("left")
    assert b"\x1b[" not in screen.raw.replace(b"\x1b[?2004", b"")


def test_a_paste_into_a_plain_terminal_is_one_message(start: Callable[..., PtyScreen]) -> None:
    screen = start("--plain")

    screen.paste("one line\n" * 100)
    screen.wait_for("one line")
    screen.type("end\r")

    screen.wait_for("> 903/101")


def test_an_interrupt_within_a_paste_leaves_a_plain_prompt(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start("--plain")

    screen.type("\x1b[200~one\n")
    screen.key("c-c")
    screen.type("two\x1b[201~")
    screen.wait_for("two")
    screen.type("\r")  # readline reports the interrupt with the next line
    screen.wait_for(LEAVE_HINT)
    screen.type("text\r")

    screen.wait_for("<text> 4/1")
