"""Pieces of a call as rules of llguidance's Lark.

The lexer is greedy: of two terminals that may come it takes the one that goes on. So line
ends in a tag are part of the tag's terminal, and any small number of blanks may stand there:
models and templates of one family differ in them. The number is bounded, since a small model
would write blanks until its context is full.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.profiles.forms import (
    Again,
    FreeText,
    Json,
    Maybe,
    Named,
    OneOf,
    Parameters,
    Pattern,
    Piece,
    Repeated,
)
from localrun.chat.profiles.ordering import AnyOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from localrun.chat.profiles.forms import CallForm
    from localrun.chat.profiles.tools import JsonObject, Tools

ANY_TEXT = r"/(.|\n)*/"
# parameters that may come in any order, each once: 2**n states for each tool, so that many
# tools leave fewer (number of tools, n)
ORDERED = ((8, 5), (24, 4))
LEAST_ORDERED = 3
# a client's schema may have what llguidance does not know: that is ignored, not refused
_LENIENT = {
    "lenient": True,
    # a blank or none: with any number a small model writes them until its context is full
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
}
_INDENTED = {"lenient": True, "whitespace_pattern": r"[ \n]{0,40}"}
_NAME = re.compile(r"part_\d+|order_\d+")  # of a rule of ours
_BREAK = re.compile(r"([ \t]*[\r\n][ \t\r\n]*)")  # blanks with a line end among them


def json_rule(schema: JsonObject, *, is_indented: bool = False) -> str:
    """Return the expression of a value that a JSON schema describes."""
    options = _INDENTED if is_indented else _LENIENT
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"


@dataclass(slots=True)
class LarkRules:
    """The rules that are written so far."""

    control_tokens: Mapping[str, int]
    most_ordered: int = LEAST_ORDERED
    rules: list[str] = field(default_factory=list)
    _num_names: int = 0
    _named_rules: set[str] = field(default_factory=set)
    _kept: dict[Hashable, str] = field(default_factory=dict)  # names of rules

    def calls(
        self, form: CallForm, tools: Tools, *, skipped: str, is_parallel: bool, is_whole: bool
    ) -> str:
        """Return the grammar of calls, of which ``skipped`` stands there already.

        It ends with a section, or where it ``is_whole`` takes further ones. What stands
        before a call goes into one literal with its beginning: the lexer is greedy, and
        would take a separator for the beginning of the frame's closing.
        """
        frame = form.frame
        num_tools = len(tools.by_name)
        steps = (ordered for most, ordered in ORDERED if num_tools <= most)
        self.most_ordered = next(steps, LEAST_ORDERED)
        calls = [list(form.pieces(tool)) for tool in tools.by_name.values()]
        first = self._any_of("first", calls, before=frame.opening, skipped=skipped)
        if not is_parallel:
            return self.grammar(f"{first} {self.sequence([frame.closing])}")
        more = self._any_of("more", calls, before=frame.separator)
        rest = f"{more}* {self.sequence([frame.closing])}"
        if not (is_whole and frame.opening and frame.closing):
            return self.grammar(f"{first} {rest}")
        again = self._any_of("again", calls, before=f"\n{frame.opening}")
        return self.grammar(f"{first} {rest} ({again} {rest})*")

    def grammar(self, start: str) -> str:
        """Return all rules, with what the whole text is."""
        return "\n".join([f"start: {start}", *reversed(self.rules)]) + "\n"

    def sequence(self, pieces: Iterable[Piece]) -> str:
        """Return the expression of pieces one after the other."""
        return " ".join(filter(None, map(self._expression, _merged(pieces))))

    def literal(self, text: str) -> str:
        """Return the expression of a tag: control tokens by their ids, line ends leniently."""
        pattern = "|".join(map(re.escape, sorted(self.control_tokens, key=len, reverse=True)))
        parts = re.split(f"({pattern})", text) if pattern else [text]
        return " ".join(
            f"<[{self.control_tokens[part]}]>" if part in self.control_tokens else self._text(part)
            for part in parts
            if part
        )

    def _any_of(
        self, name: str, calls: Sequence[Sequence[Piece]], *, before: str, skipped: str = ""
    ) -> str:
        names = [f"{name}_{index}" for index in range(len(calls))]
        for rule, pieces in zip(names, calls, strict=True):
            whole = _merged([before, *pieces])
            if skipped:
                whole = _behind(skipped, whole)
            self.rules.append(f"{rule}: {self.sequence(whole)}")
        self.rules.append(f"{name}: {' | '.join(names)}")
        return name

    def _expression(self, piece: Piece) -> str:
        match piece:
            case str():
                return self.literal(piece)
            case Json(schema, is_indented):
                return self.rule(json_rule(schema, is_indented=is_indented))
            case Pattern(regex):
                return f"/{regex.replace('/', chr(92) + '/')}/"
            case FreeText(closing, inner):
                return self._text_until(closing, inner)
            case Again(name):
                return name
        return self._compound(piece)

    def _compound(self, piece: Maybe | OneOf | Repeated | Parameters | Named) -> str:
        match piece:
            case Maybe(pieces):
                return f"({self.sequence(pieces)})?"
            case OneOf(options):
                return self.rule(" | ".join(self.sequence(option) for option in options))
            case Repeated(item, separator):
                one, next_one = self.sequence(item), self.sequence([*separator, *item])
                return f"({self.rule(one)} ({next_one})*)?"
            case Named(name, pieces):
                return self._named(name, pieces)
            case Parameters():
                return AnyOrder(self, piece, self.most_ordered).start()

    def _text(self, text: str) -> str:
        """Return a terminal for a text without control tokens."""
        parts = _BREAK.split(text)
        if len(parts) == 1:
            return _quoted(text)
        if not text.strip():
            return f"({self._terminal(_blanks(text, least=1))})?"
        exact = [_blanks(part) if index % 2 else _quoted(part) for index, part in enumerate(parts)]
        return self._terminal(" ".join(part for part in exact if part != '""'))

    def _text_until(self, closing: str, inner: str) -> str:
        if any(token in closing for token in self.control_tokens):
            return f"{inner or ANY_TEXT} {self.literal(closing)}"
        end = closing.rstrip()
        blanks = self.literal(closing[len(end) :])
        attributes = f"[suffix={_quoted(end)}]"
        return f"{self.rule(inner or ANY_TEXT, attributes)} {blanks}".strip()

    def _named(self, name: str, pieces: Sequence[Piece]) -> str:
        if name not in self._named_rules:
            self._named_rules.add(name)
            self.rules.append(f"{name}: {self.sequence(pieces)}")
        return name

    def rule(self, expression: str, attributes: str = "") -> str:
        """Return the name of the rule of an expression; equal ones share it."""
        if not attributes and _NAME.fullmatch(expression):
            return expression
        return self.kept((expression, attributes), lambda: self._new(expression, attributes))

    def kept(self, key: Hashable, write: Callable[[], str]) -> str:
        """Return the name that was written for a key before, or else write it."""
        if key not in self._kept:
            self._kept[key] = write()
        return self._kept[key]

    def _new(self, expression: str, attributes: str = "", kind: str = "part") -> str:
        name = self.new_name(kind)
        self.rules.append(f"{name}{attributes}: {expression}")
        return name

    def new_name(self, kind: str) -> str:
        """Return a name that no rule has."""
        self._num_names += 1
        return f"{kind}_{self._num_names}"

    def _terminal(self, expression: str) -> str:
        return self.kept(("terminal", expression), lambda: self._new(expression, kind="PART"))


def _behind(opening: str, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces without the opening that stands there already."""
    start, *others = pieces
    if isinstance(start, OneOf):
        return _behind(opening, [*_beginning_with(opening, start), *others])
    return [start.lstrip().removeprefix(opening) if isinstance(start, str) else start, *others]


def _beginning_with(opening: str, ways: OneOf) -> tuple[Piece, ...]:
    return next(
        way for way in ways.options if isinstance(way[0], str) and way[0].startswith(opening)
    )


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Join texts that follow one another: a terminal of both is one the lexer cannot cut."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if isinstance(piece, str) and isinstance(last, str):
            merged[-1] = last + piece
        elif piece != "":
            merged.append(piece)
    return merged


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _blanks(blanks: str, *, least: int = 0) -> str:
    return rf"/[ \t\r\n]{{{least},{len(blanks) + 1}}}/"
