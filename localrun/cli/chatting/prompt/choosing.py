"""Questions with a few answers: by one key, or by a line.

    Delete the chat? [y] delete it  [n] keep it (Enter: n)

The last choice is the refusal. Keys that were typed before the question are no answer to it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from localrun.terminal import harmless, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.cli.chatting.prompt.composer import KeyChoice

ENTER, REFUSALS = frozenset("\r\n"), frozenset("\x03\x04\x1b")  # Ctrl-C, Ctrl-D, Esc


def question_line(question: str, choices: Sequence[KeyChoice]) -> str:
    """Return the question with its keys and the one that Enter selects."""
    keys = "  ".join(f"[{choice.key}] {plain(choice.label)}" for choice in choices)
    return f"{harmless(question)} {keys} (Enter: {default_of(choices).key}) "


def default_of(choices: Sequence[KeyChoice]) -> KeyChoice:
    """Return what Enter selects: the default, without one the refusal."""
    return next((choice for choice in choices if choice.is_default), choices[-1])


def chosen(typed: str, choices: Sequence[KeyChoice]) -> KeyChoice | None:
    """Return the choice of a key or a word, None if there is none; case may distinguish keys."""
    word = typed.strip()
    if not word:
        return default_of(choices)
    exact = next((choice for choice in choices if choice.key == word), None)
    return exact or next((one for one in choices if _matches(one, word.lower())), None)


def ask_by_key(question: str, choices: Sequence[KeyChoice], read: Callable[[], str]) -> str:
    """Ask on stderr; ``read`` returns what has been typed. Return the key of the choice."""
    _write(question_line(question, choices))
    choice = None
    try:
        while choice is None:
            choice = _choice_of(read(), choices)
    except (KeyboardInterrupt, EOFError):
        choice = choices[-1]
    _write(f"{choice.key}\n")
    return choice.key


def ask_by_line(
    question: str,
    choices: Sequence[KeyChoice],
    read: Callable[[], str] = lambda: sys.stdin.readline(),  # noqa: PLW0108 - stdin can change
) -> str:
    """Ask on stderr; ``read`` returns a line, "" at the end. Return the key of the choice."""
    while True:
        _write(question_line(question, choices))
        try:
            line = read()
        except KeyboardInterrupt:
            _write("\n")
            return choices[-1].key
        if not line:
            return choices[-1].key
        choice = chosen(line, choices)
        if choice is not None:
            return choice.key


def _choice_of(typed: str, choices: Sequence[KeyChoice]) -> KeyChoice | None:
    """Return the choice of the first key that has one; the sequence of an arrow key has none."""
    if typed.startswith("\x1b") and len(typed) > 1:
        return None
    return next((each for letter in typed if (each := _choice_of_key(letter, choices))), None)


def _choice_of_key(letter: str, choices: Sequence[KeyChoice]) -> KeyChoice | None:
    if letter in ENTER:
        return default_of(choices)
    if letter in REFUSALS:
        return choices[-1]
    return None if letter.isspace() else chosen(letter, choices)


def _matches(choice: KeyChoice, word: str) -> bool:
    return choice.key.lower() == word or choice.label.lower() == word


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
