r"""Patterns of tensor names: regular expressions that match in linear time.

llama.cpp searches tensor names with ``std::regex`` of C++, whose backtracking may take for ever on
one name. Here a pattern becomes a finite automaton, whose time is at most the length of the name
times the number of its instructions. llama.cpp only sees the names that match.

    attn_v                      anywhere in the name, as in llama.cpp
    blk\.(0|1|2)\.ffn_down       groups, alternatives, escapes
    ^output\.weight$            anchors
    blk\.[0-9]{1,2}\..*_exps    classes, repetitions * + ? {n} {n,} {n,m}

References to groups, lookaheads and word boundaries are refused. Letters are taken in lower case,
as llama.cpp's own tool does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_PATTERN = 256
DEEPEST_GROUP = 16
MOST_REPEATS = 64
LONGEST_COUNTS = 7  # characters of n,m
MOST_INSTRUCTIONS = 1000
MOST_REMEMBERED = 4096  # transitions of one pattern
DIGITS = frozenset("0123456789")
SPACES = frozenset(" \t\n\v\f\r")
WORDS = DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
CLASSES = {"d": DIGITS, "w": WORDS, "s": SPACES}
SPECIAL = "*+?{}()[]|^$\\."


@dataclass(frozen=True, slots=True)
class Letters:
    """Set of characters, or all others."""

    members: frozenset[str]
    is_negated: bool = False

    def accepts(self, letter: str) -> bool:
        """Return whether a character belongs to the set."""
        return (letter in self.members) != self.is_negated


@dataclass(frozen=True, slots=True)
class Anchor:
    """Position that consumes nothing: the start of the name, or its end."""

    is_start: bool


@dataclass(frozen=True, slots=True)
class Fork:
    """Instructions, relative to this one, at which matching goes on."""

    targets: tuple[int, ...]


Instruction = Letters | Anchor | Fork
Code = tuple[Instruction, ...]


class TensorPattern:
    """A compiled pattern; `matches` searches it in a name."""

    def __init__(self, text: str) -> None:
        """Compile a pattern.

        Raises:
            UsageError: it is not valid, not supported or too large.
        """
        self.text = text
        self._code = _PatternParser(text).parse()
        self._moves: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, name: str) -> bool:
        """Return whether the pattern occurs in a name."""
        end = len(self._code)
        states = self._closed([0], is_start=True)
        for letter in name:
            if end in states:
                return True
            states = self._next_states(states, letter)
        return end in self._closed(states, is_start=not name, is_end=True)

    def _next_states(self, states: frozenset[int], letter: str) -> frozenset[int]:
        """Return the states behind a character, with the one of a match that begins there."""
        key = states, letter
        following = self._moves.get(key)
        if following is None:
            moved = [state + 1 for state in states if self._accepts(state, letter)]
            following = self._closed([0, *moved])
            if len(self._moves) < MOST_REMEMBERED:
                self._moves[key] = following
        return following

    def _accepts(self, state: int, letter: str) -> bool:
        instruction = self._code[state] if state < len(self._code) else None
        return isinstance(instruction, Letters) and instruction.accepts(letter)

    def _closed(
        self, states: Iterable[int], *, is_start: bool = False, is_end: bool = False
    ) -> frozenset[int]:
        """Return the states with those that they reach without a character."""
        reached: set[int] = set()
        remaining = list(states)
        while remaining:
            state = remaining.pop()
            if state in reached:
                continue
            reached.add(state)
            instruction = self._code[state] if state < len(self._code) else None
            if isinstance(instruction, Fork):
                remaining += [state + target for target in instruction.targets]
            elif isinstance(instruction, Anchor):
                remaining += [state + 1] if (is_start if instruction.is_start else is_end) else []
        return frozenset(reached)


class _PatternParser:
    """Recursive descent over a pattern; each method returns the code of a part of it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def parse(self) -> Code:
        if not self._text or len(self._text) > LONGEST_PATTERN:
            raise self._wrong(f"it has {len(self._text)} characters, not 1 to {LONGEST_PATTERN}")
        code = self._alternatives(0)
        if self._position < len(self._text):
            raise self._wrong("a ) without (")
        return code

    def _alternatives(self, depth: int) -> Code:
        if depth > DEEPEST_GROUP:
            raise self._wrong(f"groups deeper than {DEEPEST_GROUP}")
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        code = branches.pop()
        for branch in reversed(branches):
            over = Fork((len(code) + 1,))
            code = (Fork((1, len(branch) + 2)), *branch, over, *code)
        return self._bounded(code)

    def _sequence(self, depth: int) -> Code:
        code: Code = ()
        while self._peek() not in ("", "|", ")"):
            code = self._bounded((*code, *self._repeated(self._atom(depth))))
        return code

    def _repeated(self, code: Code) -> Code:
        while (mark := self._peek()) in ("*", "+", "?", "{") and mark:
            self._position += 1
            low, high = self._counts() if mark == "{" else REPEATS[mark]
            self._take("?")  # a lazy repetition matches the same names
            code = self._bounded(_repeat(code, low, high))
        return code

    def _counts(self) -> tuple[int, int | None]:
        inside, closing, _ = self._text[self._position :].partition("}")
        low, comma, high = inside.partition(",")
        is_valid = closing and low.isdecimal() and (not high or high.isdecimal())
        if not is_valid or len(inside) > LONGEST_COUNTS:
            raise self._wrong("{ begins no number of repetitions")
        numbers = int(low), int(high) if high else None
        if max(numbers[0], numbers[1] or 0) > MOST_REPEATS:
            raise self._wrong(f"a number of repetitions above {MOST_REPEATS}")
        if numbers[1] is not None and numbers[1] < numbers[0]:
            raise self._wrong("a repetition whose numbers are out of order")
        self._position += len(inside) + 1
        return numbers if comma else (numbers[0], numbers[0])

    def _atom(self, depth: int) -> Code:
        letter = self._next()
        if letter == "(":
            return self._group(depth)
        if letter == "[":
            return (self._class(),)
        if letter == "\\":
            return (self._escape(),)
        if letter in "^$":
            return (Anchor(letter == "^"),)
        if letter in "*+?{":
            raise self._wrong(f"a {letter} behind nothing")
        if letter == ".":
            return (Letters(frozenset("\n\r"), is_negated=True),)
        return (Letters(frozenset(letter.lower())),)

    def _group(self, depth: int) -> Code:
        if self._take("?") and not self._take(":"):
            raise self._wrong("a lookahead, which is not supported")
        code = self._alternatives(depth + 1)
        if not self._take(")"):
            raise self._wrong("a ( without )")
        return code

    def _escape(self) -> Letters:
        letter = self._next()
        if letter.lower() in CLASSES:
            return Letters(CLASSES[letter.lower()], is_negated=letter.isupper())
        if letter.isalnum():
            raise self._wrong(f"\\{letter}, which is not supported")
        return Letters(frozenset(letter))

    def _class(self) -> Letters:
        is_negated = self._take("^")
        members: set[str] = set()
        while not self._take("]"):
            members |= self._member()
        return Letters(frozenset(members), is_negated=is_negated)

    def _member(self) -> frozenset[str]:
        letter = self._next()
        if letter == "\\":
            escaped = self._escape()
            if escaped.is_negated:
                raise self._wrong("a negated class in [ ]")
            return escaped.members
        last = self._text[self._position + 1 : self._position + 2]
        if self._peek() != "-" or last in ("", "]"):
            return frozenset(letter.lower())
        self._position += 2
        if last == "\\" or not letter <= last < "\x7f":
            raise self._wrong(f"the range {letter}-{last}")
        return frozenset(chr(code).lower() for code in range(ord(letter), ord(last) + 1))

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _take(self, letter: str) -> bool:
        is_there = self._peek() == letter
        self._position += is_there
        return is_there

    def _next(self) -> str:
        letter = self._peek()
        if not letter:
            raise self._wrong("it ends too early")
        self._position += 1
        return letter

    def _bounded(self, code: Code) -> Code:
        if len(code) > MOST_INSTRUCTIONS:
            raise self._wrong("too many repetitions")
        return code

    def _wrong(self, reason: str) -> UsageError:
        return UsageError(
            f"{self._text[:80]} is not a pattern of tensor names: {reason}",
            hint=r"such as attn_v   or   blk\.[0-9]\.ffn_down",
        )


REPEATS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def _repeat(code: Code, low: int, high: int | None) -> Code:
    """Return code for ``low`` to ``high`` repetitions, None: without an end."""
    size = len(code)
    if not size or max(low, high or 0, 1) * (size + 2) > MOST_INSTRUCTIONS:
        return code * (MOST_INSTRUCTIONS + 1 if size else 0)  # its size is refused
    if high is None:
        return (*code * low, Fork((1, size + 2)), *code, Fork((-size - 1,)))
    optional: Code = ()
    for _ in range(high - low):
        optional = (Fork((1, size + len(optional) + 1)), *code, *optional)
    return (*code * low, *optional)
