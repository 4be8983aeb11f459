"""Candidates for the word before the cursor: commands, their arguments, and ``@path``.

    /mo|                  names of commands, the nearest first
    /set par|             words of a command
    /model qw|            values of its arguments
    explain @src/ma|      paths

Knows no line editor. Values come from the `CompletionSource` and may block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.completion.path_candidates import path_candidates
from localrun.cli.chatting.prompt.completion.typed_words import quoted_word, typed_words
from localrun.cli.chatting.prompt.sources import ArgumentKind, Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from localrun.cli.chatting.prompt.completion.typed_words import TypedWords
    from localrun.cli.chatting.prompt.sources import CommandForm, CompletionSource

MAX_CANDIDATES = 200
MAX_LINE = 4096  # characters; a longer line is no command
MENTION = re.compile(r'(?:^|\s)@("[^"\n]{0,1024}|[^\s"]{0,1024})$')
Kind = ArgumentKind | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundCompletions:
    """Candidates, and the number of characters before the cursor that each of them replaces."""

    candidates: tuple[Candidate, ...] = ()
    replaced: int = 0


def may_complete(text: str) -> bool:
    """Return whether a text up to the cursor is one to complete while it is typed."""
    return is_command(text) or MENTION.search(text[-MAX_LINE:]) is not None


def is_command(text: str) -> bool:
    """Return whether a text is the line of a command."""
    return text.startswith("/") and "\n" not in text and len(text) <= MAX_LINE


def completions_of(text: str, source: CompletionSource | None, folder: Path) -> FoundCompletions:
    """Return the candidates for the end of a text."""
    mention = MENTION.search(text[-MAX_LINE:])
    if mention is not None:
        return _paths(mention[1].removeprefix('"'), len(mention[1]), folder)
    if source is None or not is_command(text):
        return FoundCompletions()
    words = typed_words(text)
    forms = source.commands()
    form = _form_of(words, forms)
    kind = None if form is None else _kind(form, words)
    names = _name_words(words, forms)
    if names or kind is None:
        return FoundCompletions(_nearest(names, words.current), len(text) - words.start)
    if kind is ArgumentKind.PATH:
        return _paths(words.current, len(text) - words.start, folder)
    return FoundCompletions(
        _nearest(_values(kind, source), words.current, quoted=True), len(text) - words.start
    )


def _form_of(words: TypedWords, forms: Sequence[CommandForm]) -> CommandForm | None:
    """Return the command whose name is typed, the longest if there are several."""
    matching = [
        form
        for form in forms
        if words.complete[: len(form.name.split())] == tuple(form.name.split())
    ]
    return max(matching, key=lambda form: len(form.name.split()), default=None)


def _kind(form: CommandForm, words: TypedWords) -> Kind | None:
    """Return the kind of the argument before the cursor, None if it has no completion."""
    index = len(words.complete) - len(form.name.split())
    if form.repeats and form.arguments:
        index = min(index, len(form.arguments) - 1)
    kind = form.arguments[index] if index < len(form.arguments) else None
    return None if kind is ArgumentKind.TEXT else kind


def _name_words(words: TypedWords, forms: Sequence[CommandForm]) -> list[Candidate]:
    """Return what may follow the complete words in the names of commands."""
    num_words = len(words.complete)
    found: dict[str, Candidate] = {}
    for form in forms:
        name = form.name.split()
        if len(name) > num_words and tuple(name[:num_words]) == words.complete:
            is_whole = len(name) == num_words + 1
            if is_whole or name[num_words] not in found:
                found[name[num_words]] = Candidate(
                    name[num_words], form.description if is_whole else ""
                )
    return list(found.values())


def _values(kind: Kind, source: CompletionSource) -> Iterable[Candidate]:
    return map(Candidate, kind) if isinstance(kind, tuple) else source.values(kind)


def _nearest(
    candidates: Iterable[Candidate], typed: str, *, quoted: bool = False
) -> tuple[Candidate, ...]:
    """Return the candidates that contain the letters typed, the nearest first."""
    wanted = typed.lower()
    ranked = [
        (_distance(candidate.text.lower(), wanted), number, candidate)
        for number, candidate in enumerate(candidates)
    ]
    nearest = sorted(each for each in ranked if each[0] is not None)[:MAX_CANDIDATES]
    return tuple(
        Candidate(quoted_word(each.text), each.description) if quoted else each
        for _, _, each in nearest
    )


def _distance(text: str, wanted: str) -> int | None:
    """Return 0 for the same beginning, 1 if contained, 2 if its letters are; None if not."""
    if text.startswith(wanted) or text.removeprefix("/").startswith(wanted):
        return 0
    if wanted.removeprefix("/") in text:
        return 1
    letters = iter(text)
    return 2 if all(letter in letters for letter in wanted) else None


def _paths(typed: str, replaced: int, folder: Path) -> FoundCompletions:
    candidates = tuple(
        Candidate(quoted_word(each.text, is_open=each.text.endswith("/")), each.description)
        for each in path_candidates(typed, folder)
    )
    return FoundCompletions(candidates, replaced)
