"""A program that reads messages by a composer and prints them, as a chat does.

Its "answers" last until the user interrupts them or until the file of ``TYPIST_END`` exists. With
``TYPIST_HASTE``, a signal interrupts as soon as the thread that watches the keys has started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.composer import ComposerOptions, KeyChoice, open_composer
from localrun.cli.chatting.prompt.sources import ArgumentKind, Candidate, CommandForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.prompt.composer import Composer

FORMS = (
    CommandForm(name="/model", description="switch the model", arguments=(ArgumentKind.MODEL,)),
    CommandForm(name="/bye", description="leave"),
)
CHOICES = (KeyChoice("y", "yes"), KeyChoice("a", "always"), KeyChoice("n", "no"))
POLL_S = 0.01
NUM_QUESTIONS = 5


class Source:
    def commands(self) -> Sequence[CommandForm]:
        return FORMS

    def values(self, kind: ArgumentKind) -> Sequence[Candidate]:
        if "TYPIST_SLOW" in os.environ:
            threading.Event().wait()  # for ever
        return [Candidate("guide", "8 MB"), Candidate(f"other-{kind}")]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read messages until the user leaves."""
    if "TYPIST_HASTE" in os.environ:
        hurry()
    composer = open_composer(
        ComposerOptions(
            completion=Source(),
            toolbar=lambda: "the toolbar",
            on_fold=lambda: say("(folded)"),
            on_mode=lambda: say("(mode)"),
            history_file=Path(os.environ["TYPIST_HISTORY"]),
            is_plain="--plain" in sys.argv,
            environ=os.environ,
        )
    )
    with contextlib.closing(composer):
        _chat(composer)


def _chat(composer: Composer) -> None:
    say("ready")
    draft = ""
    while True:
        try:
            text = composer.read(draft)
        except EOFError:
            say("left")
            return
        draft = _act(composer, text)


def _act(composer: Composer, text: str) -> str:
    """Do what a message asks for; return the text of the next prompt."""
    num_lines = text.count("\n") + 1
    say(f"<{text if len(text) < 100 else text[:20] + '...'}> {len(text)}/{num_lines}")
    if text == "/choose":
        say(f"chosen {composer.choose('Run it?', CHOICES)}")
    elif text == "/work":
        say("working")
        wait_for_end()
    elif text == "/late":
        say("working")
        wait_for_end()
        say(f"chosen {composer.choose('Run it?', CHOICES)}")
    elif text == "/draft":
        return "a draft"
    elif text.startswith("/answer"):
        _answer(composer, text)
    return ""


def _answer(composer: Composer, text: str) -> None:
    try:
        with composer.answering(lambda: say("(fold)")):
            say("answering")
            for number in range(NUM_QUESTIONS if "questions" in text else 0):
                say(f"chosen {number} {composer.choose('Run it?', CHOICES)}")
            wait_for_end()
        say("complete")
    except KeyboardInterrupt:
        say("interrupted")


def hurry() -> None:
    """Interrupt at the worst moment: the thread has started, and nobody knows it yet."""
    start = threading.Thread.start

    def start_interrupted(self: threading.Thread) -> None:
        start(self)
        if "(_run)" in self.name:
            signal.raise_signal(signal.SIGINT)

    threading.Thread.start = start_interrupted  # type: ignore[method-assign]


def wait_for_end() -> None:
    end = Path(os.environ["TYPIST_END"])
    while not end.exists():
        threading.Event().wait(POLL_S)
    end.unlink()


if __name__ == "__main__":
    main()
