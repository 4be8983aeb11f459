"""GBNF, the grammars of llama.cpp, as Lark for llguidance.

    root ::= "a" ( [x]* | item{2,3} )* <[10]>          start: "a" (/[x]/* | r1{2,3})* <[10]>
    item ::= !<[11]>                                   r1: <[^11]>

Rules without tokens and without recursion become terminals, which llguidance matches fast.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

ROOT = "root"
LAST_ASCII, LARGEST_CODE_POINT = 0x7F, 0x10FFFF
SURROGATES = range(0xD800, 0xE000)  # halves of characters
_TOKENS = re.compile(
    r"""(?P<blank>[ \t\r\n]+|\#[^\n]*)
      | (?P<name>[\w-]+)(?P<defines>\s*::=)?
      | (?P<literal>"(?:[^"\\]|\\.)*")
      | (?P<chars>\[(?:[^\]\\]|\\.)*\])
      | (?P<token>!?<(?:\[\d{1,10}\]|[^<>\[\]\s]+)>)
      | (?P<times>\{\s*(?P<least>\d{1,6})\s*(?P<comma>,)?\s*(?P<most>\d{1,6})?\s*\})
      | (?P<sign>[|()*+?.])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "[": "[", "]": "]"}
_ANY = r"/(.|\n)/"


class GbnfError(ValueError):
    """The text is no GBNF; the message says where and why."""


@dataclass(slots=True)
class _Rule:
    """One rule while it is read: pieces of Lark, and names of rules in between."""

    name: str
    line: int
    pieces: list[str | _Reference] = field(default_factory=list)
    has_tokens: bool = False
    lark_name: str = ""


@dataclass(frozen=True, slots=True)
class _Reference:
    name: str
    line: int


def lark_of_gbnf(text: str) -> str:
    """Return the grammar in Lark.

    Raises:
        GbnfError: it is none.
    """
    rules = _Reader(text).rules()
    if ROOT not in rules:
        raise GbnfError(f"no rule is named {ROOT!r}")
    _check_references(rules)
    _name(rules)
    return "".join(f"{rule.lark_name}: {_body(rule, rules)}\n" for rule in rules.values())


class _Reader:
    """Reads the tokens of a grammar from left to right, with a stack of open parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rules: dict[str, _Rule] = {}
        self._rule: _Rule | None = None
        self._atoms: list[int] = [-1]  # where the last atom of each open group begins
        self._line = 1

    def rules(self) -> dict[str, _Rule]:
        """Return the rules by name."""
        place = 0
        while place < len(self._text):
            found = _TOKENS.match(self._text, place)
            if not found:
                raise self._error(self._complaint(place))
            self._read(found)
            self._line += found.group().count("\n")
            place = found.end()
        self._end_rule()
        return self._rules

    def _read(self, found: re.Match[str]) -> None:
        if found["blank"]:
            return
        if found["defines"]:
            self._begin_rule(found["name"])
        elif self._rule is None:
            raise self._error(f"expected a rule, found {found.group()[:20]!r}")
        elif found["times"]:
            most = found["most"] or ("" if found["comma"] else found["least"])
            self._quantify(self._rule, f"{{{found['least']},{most}}}")
        elif found["sign"]:
            self._sign(self._rule, found["sign"])
        else:
            self._atom(self._rule, self._piece(self._rule, found))

    def _piece(self, rule: _Rule, found: re.Match[str]) -> str | _Reference:
        if found["name"]:
            return _Reference(found["name"], self._line)
        if found["literal"]:
            return json.dumps(self._decoded(found["literal"][1:-1]), ensure_ascii=False)
        if found["chars"]:
            return f"/{self._class(found['chars'])}/"
        rule.has_tokens = True
        return self._token(found["token"])

    def _sign(self, rule: _Rule, sign: str) -> None:
        match sign:
            case "(":
                self._atom(rule, "(")
                self._atoms.append(-1)
            case ")":
                if len(self._atoms) == 1:
                    raise self._error("there is a ) without a (")
                self._atoms.pop()
                rule.pieces.append(")")
            case "|":
                self._atoms[-1] = -1
                rule.pieces.append("|")
            case ".":
                self._atom(rule, _ANY)
            case _:
                self._quantify(rule, sign)

    def _begin_rule(self, name: str) -> None:
        self._end_rule()
        if name in self._rules:
            raise self._error(f"the rule {name!r} is there twice")
        self._rule = self._rules[name] = _Rule(name, self._line)

    def _end_rule(self) -> None:
        if len(self._atoms) > 1:
            raise self._error("a ( is not closed")
        self._atoms = [-1]

    def _atom(self, rule: _Rule, piece: str | _Reference) -> None:
        """Add what can be repeated, behind a place for the parentheses that takes."""
        self._atoms[-1] = len(rule.pieces)
        rule.pieces += ["", piece]

    def _quantify(self, rule: _Rule, sign: str) -> None:
        """Put the last atom into parentheses, so that it can be repeated once more."""
        start = self._atoms[-1]
        if start < 0:
            raise self._error(f"{sign} has nothing to repeat")
        rule.pieces[start] = f"{rule.pieces[start]}("
        rule.pieces += [sign, ")"]

    def _token(self, token: str) -> str:
        if not token.startswith("!"):
            return token
        if not token.startswith("!<["):
            raise self._error(f"{token} excludes a token by its text: write its number, !<[11]>")
        return f"<[^{token[3:-2]}]>"

    def _decoded(self, text: str) -> str:
        return _ESCAPE.sub(self._character, text)

    def _character(self, escape: re.Match[str]) -> str:
        digits = escape[1] or escape[2] or escape[3]
        if not digits:
            if escape[4] not in _LETTERS:
                raise self._error(f"{escape.group()} is no escape")
            return _LETTERS[escape[4]]
        code = int(digits, 16)
        if code > LARGEST_CODE_POINT or code in SURROGATES:
            raise self._error(f"{escape.group()} is no character")
        return chr(code)

    def _class(self, chars: str) -> str:
        """Return a class of characters as a regular expression has it."""
        inner = chars[1:-1]
        start = "[^" if inner.startswith("^") else "["
        parts = _ESCAPE.split(inner.removeprefix("^"))
        # split gives plain text, then the four groups of an escape, again and again
        plain, escapes = parts[::5], list(_ESCAPE.finditer(inner.removeprefix("^")))
        written = [re.sub(r"([\[/&~])", r"\\\1", part) for part in plain]
        for index, escape in enumerate(escapes):
            written[index] += _in_class(self._character(escape))
        return f"{start}{''.join(written)}]"

    def _complaint(self, place: int) -> str:
        rest = self._text[place : place + 20]
        if self._text.endswith("\\") or rest.startswith('"'):
            return "the text ends inside an escape or a literal"
        return f"found {rest!r}"

    def _error(self, what: str) -> GbnfError:
        return GbnfError(f"line {self._line}: {what}")


def _in_class(character: str) -> str:
    code = ord(character)
    if code <= LAST_ASCII:
        return f"\\x{code:02x}"
    return character


def _check_references(rules: dict[str, _Rule]) -> None:
    for rule in rules.values():
        for piece in rule.pieces:
            if isinstance(piece, _Reference) and piece.name not in rules:
                raise GbnfError(f"line {piece.line}: no rule is named {piece.name!r}")


def _name(rules: dict[str, _Rule]) -> None:
    """Give rules their names in Lark: capitals make terminals of those that can be some."""
    users: dict[str, list[str]] = {name: [] for name in rules}
    missing: dict[str, int] = {}  # rules that it refers to and that are no terminals yet
    for rule in rules.values():
        inner = {piece.name for piece in rule.pieces if isinstance(piece, _Reference)}
        missing[rule.name] = len(inner)
        for name in inner:
            users[name].append(rule.name)
    ready = [name for name, count in missing.items() if not count]
    numbers = {name: number for number, name in enumerate(rules)}
    for rule in rules.values():
        rule.lark_name = f"r{numbers[rule.name]}"
    while ready:
        rule = rules[ready.pop()]
        if rule.has_tokens or rule.name == ROOT:
            continue
        rule.lark_name = f"R{numbers[rule.name]}"
        for user in users[rule.name]:
            missing[user] -= 1
            ready += [user] * (not missing[user])
    rules[ROOT].lark_name = "start"


def _body(rule: _Rule, rules: dict[str, _Rule]) -> str:
    parts = [
        rules[piece.name].lark_name if isinstance(piece, _Reference) else piece
        for piece in rule.pieces
    ]
    return " ".join(filter(None, parts)) or '""'
