"""Lark grammar of tool calls, in llguidance's dialect, written from the pieces of a call.

llguidance's lexer is greedy: of two terminals that may follow, it takes the longer. So line ends in
a tag are part of the tag's terminal, and any small number of blanks may stand there, because
models and templates of one family differ in them. The number is bounded, since a small model
would write blanks until its context is full.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.pieces import (
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
from localrun.chat.profiles.rules import AnyOrder, ParameterRule, RuleTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from localrun.chat.profiles.formats.format import ToolCallFormat
    from localrun.chat.profiles.tools import JsonObject, Tools

ANY_TEXT = r"/(.|\n)*/"
# Parameters tracked in any order take 2**n states for each tool, so many tools track fewer:
# (largest number of tools, n)
MAX_TRACKED = ((8, 5), (24, 4))
MIN_TRACKED = 3
# what llguidance does not know in a client's schema is ignored, not refused
_LENIENT = {
    "lenient": True,
    # at most one blank: with any number, a small model writes blanks until its context is full
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
}
_INDENTED = {"lenient": True, "whitespace_pattern": r"[ \n]{0,40}"}
_BREAK = re.compile(r"([ \t]*[\r\n][ \t\r\n]*)")  # blanks with a line end among them


def json_rule(schema: JsonObject, *, is_indented: bool = False) -> str:
    """Return the expression of a value that a JSON schema describes."""
    options = _INDENTED if is_indented else _LENIENT
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"


@dataclass(slots=True)
class LarkRules:
    """Writer of one grammar.

    ``control_tokens`` maps tags that are one control token of the vocabulary to its id: no text
    matches a control token, so the grammar must name it.
    """

    control_tokens: Mapping[str, int]
    table: RuleTable = field(default_factory=RuleTable)
    max_tracked: int = MIN_TRACKED
    _named_rules: set[str] = field(default_factory=set)

    def calls(
        self,
        call_format: ToolCallFormat,
        tools: Tools,
        *,
        skipped: str,
        is_parallel: bool,
        is_whole: bool,
    ) -> str:
        """Return the grammar of calls, behind the text ``skipped`` that the reply has already.

        The grammar ends with a section, unless it ``is_whole`` and takes further sections. The
        text before a call is one literal with the call's beginning: the greedy lexer would take
        a separator for the beginning of the frame's closing.
        """
        frame = call_format.frame
        num_tools = len(tools.by_name)
        steps = (tracked for most_tools, tracked in MAX_TRACKED if num_tools <= most_tools)
        self.max_tracked = next(steps, MIN_TRACKED)
        calls = [list(call_format.pieces(tool)) for tool in tools.by_name.values()]
        first = self._any_of("first", calls, before=frame.opening, skipped=skipped)
        if not is_parallel:
            return self.grammar(f"{first} {self.sequence([frame.closing])}")
        more = self._any_of("more", calls, before=frame.separator)
        others = f"{more}* {self.sequence([frame.closing])}"
        if not (is_whole and frame.opening and frame.closing):
            return self.grammar(f"{first} {others}")
        again = self._any_of("again", calls, before=f"\n{frame.opening}")
        return self.grammar(f"{first} {others} ({again} {others})*")

    def grammar(self, start: str) -> str:
        """Return the text of all rules, with an expression as the start rule."""
        return self.table.grammar(start)

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
            self.table.lines.append(f"{rule}: {self.sequence(whole)}")
        self.table.lines.append(f"{name}: {' | '.join(names)}")
        return name

    def _expression(self, piece: Piece) -> str:
        match piece:
            case str():
                return self.literal(piece)
            case Json(schema, is_indented):
                return self.table.rule(json_rule(schema, is_indented=is_indented))
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
                return self.table.rule(" | ".join(self.sequence(option) for option in options))
            case Repeated(item, separator):
                first, following = self.sequence(item), self.sequence([*separator, *item])
                return f"({self.table.rule(first)} ({following})*)?"
            case Named(name, pieces):
                return self._named(name, pieces)
            case Parameters():
                return self._any_order(piece)

    def _any_order(self, parameters: Parameters) -> str:
        items, separator = parameters.items, parameters.separator
        first = [self.table.rule(self.sequence(item.pieces)) for item in items]
        following = first
        if separator:
            following = [
                self.table.rule(self.sequence([*separator, *item.pieces])) for item in items
            ]
        rules = [
            ParameterRule(first=one, following=other, is_required=item.is_required)
            for one, other, item in zip(first, following, items, strict=True)
        ]
        return AnyOrder(self.table, rules, self.max_tracked).start()

    def _text(self, text: str) -> str:
        """Return the terminal of a text without control tokens."""
        parts = _BREAK.split(text)
        if len(parts) == 1:
            return _quoted(text)
        if not text.strip():
            return f"({self.table.terminal(_blanks(text, least=1))})?"
        exact = [_blanks(part) if index % 2 else _quoted(part) for index, part in enumerate(parts)]
        return self.table.terminal(" ".join(part for part in exact if part != '""'))

    def _text_until(self, closing: str, inner: str) -> str:
        if any(token in closing for token in self.control_tokens):
            return f"{inner or ANY_TEXT} {self.literal(closing)}"
        end = closing.rstrip()
        blanks = self.literal(closing[len(end) :])
        attributes = f"[suffix={_quoted(end)}]"
        return f"{self.table.rule(inner or ANY_TEXT, attributes)} {blanks}".strip()

    def _named(self, name: str, pieces: Sequence[Piece]) -> str:
        if name not in self._named_rules:
            self._named_rules.add(name)
            self.table.lines.append(f"{name}: {self.sequence(pieces)}")
        return name


def _behind(opening: str, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces without the opening that the reply has already."""
    start, *others = pieces
    if isinstance(start, OneOf):
        return _behind(opening, [*_beginning_with(opening, start), *others])
    return [start.lstrip().removeprefix(opening) if isinstance(start, str) else start, *others]


def _beginning_with(opening: str, ways: OneOf) -> tuple[Piece, ...]:
    return next(
        way for way in ways.options if isinstance(way[0], str) and way[0].startswith(opening)
    )


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the pieces with adjacent texts joined: the lexer cannot split one terminal."""
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
