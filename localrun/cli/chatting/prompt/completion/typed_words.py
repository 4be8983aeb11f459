r"""Words of a command line in a chat, as far as they are typed: blanks in quotes or after ``\``.

    /file "my notes.txt" src/ma|      words: /file, my notes.txt; the current one: src/ma

Pure and linear. An open quote is no error: the word goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

QUOTE_MARKS = "\"'"
NEEDS_QUOTES = frozenset(" \t\"'\\")


@dataclass(frozen=True, slots=True)
class TypedWords:
    """Complete words, and the one before the cursor with the place where it starts."""

    complete: tuple[str, ...]
    current: str
    start: int


def typed_words(line: str) -> TypedWords:
    """Return the words of a line up to the cursor."""
    words: list[str] = []
    letters: list[str] = []
    quote, start, position = "", 0, 0
    while position < len(line):
        letter = line[position]
        if letter == "\\" and quote != "'" and position + 1 < len(line):
            position += 1
            letters.append(line[position])
        elif letter == quote or (not quote and letter in QUOTE_MARKS and not letters):
            quote = "" if quote else letter
        elif letter.isspace() and not quote:
            if position > start:
                words.append("".join(letters))
            letters, start = [], position + 1
        else:
            letters.append(letter)
        position += 1
    return TypedWords(tuple(words), "".join(letters), start)


def quoted_word(word: str, *, is_open: bool = False) -> str:
    """Return a word as it is typed; if ``is_open``, its quote is not closed."""
    if not NEEDS_QUOTES & set(word):
        return word
    if '"' not in word and "\\" not in word:
        return f'"{word}' if is_open else f'"{word}"'
    return "".join(f"\\{letter}" if letter in NEEDS_QUOTES else letter for letter in word)
