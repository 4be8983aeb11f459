"""Translation of GBNF, the grammar format of llama.cpp, to llguidance's Lark.

    root ::= "a" ( [x]* | item{2,3} )* <[10]>          start: "a" (/[x]/* | r1{2,3})* <[10]>
    item ::= !<[11]>                                   r1: <[^11]>

Rules without tokens and without recursion become terminals, which llguidance matches faster.
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
    """The text is not GBNF; the message states line and reason."""


@dataclass(slots=True)
class _Rule:
    """One rule: pieces of Lark text, and references to rules between them."""

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
        GbnfError: the text is not GBNF.
    """
    rules = _GbnfParser(text).rules()
    if ROOT not in rules:
        raise GbnfError(f"no rule is named {ROOT!r}")
    _check_references(rules)
    _name(rules)
    return "".join(f"{rule.lark_name}: {_body(rule, rules)}\n" for rule in rules.values())


class _GbnfParser:
    """Parser of a grammar, from left to right, with a stack of open parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rules: dict[str, _Rule] = {}
        self._rule: _Rule | None = None
        self._atoms: list[int] = [-1]  # index of the last atom of each open group; -1 = none
        self._line = 1

    def rules(self) -> dict[str, _Rule]:
        """Return the rules by name."""
        position = 0
        while position < len(self._text):
            token = _TOKENS.match(self._text, position)
            if not token:
                raise self._error(self._problem(position))
            self._read(token)
            self._line += token.group().count("\n")
            position = token.end()
        self._end_rule()
        return self._rules

    def _read(self, token: re.Match[str]) -> None:
        if token["blank"]:
            return
        if token["defines"]:
            self._begin_rule(token["name"])
        elif self._rule is None:
            raise self._error(f"expected a rule, found {token.group()[:20]!r}")
        elif token["times"]:
            most = token["most"] or ("" if token["comma"] else token["least"])
            self._quantify(self._rule, f"{{{token['least']},{most}}}")
        elif token["sign"]:
            self._sign(self._rule, token["sign"])
        else:
            self._atom(self._rule, self._piece(self._rule, token))

    def _piece(self, rule: _Rule, token: re.Match[str]) -> str | _Reference:
        if token["name"]:
            return _Reference(token["name"], self._line)
        if token["literal"]:
            return json.dumps(self._decoded(token["literal"][1:-1]), ensure_ascii=False)
        if token["chars"]:
            return f"/{self._class(token['chars'])}/"
        rule.has_tokens = True
        return self._token(token["token"])

    def _sign(self, rule: _Rule, sign: str) -> None:
        match sign:
            case "(":
                self._atom(rule, "(")
                self._atoms.append(-1)
            case ")":
                if len(self._atoms) == 1:
                    raise self._error("a ) without a (")
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
            raise self._error(f"the rule {name!r} is defined twice")
        self._rule = self._rules[name] = _Rule(name, self._line)

    def _end_rule(self) -> None:
        if len(self._atoms) > 1:
            raise self._error("a ( is not closed")
        self._atoms = [-1]

    def _atom(self, rule: _Rule, piece: str | _Reference) -> None:
        """Add a repeatable piece, and before it a slot for opening parentheses."""
        self._atoms[-1] = len(rule.pieces)
        rule.pieces += ["", piece]

    def _quantify(self, rule: _Rule, sign: str) -> None:
        """Quantify the last atom in parentheses, so that it can be quantified again."""
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
        """Return a character class in the syntax of regular expressions."""
        inner = chars[1:-1]
        start = "[^" if inner.startswith("^") else "["
        parts = _ESCAPE.split(inner.removeprefix("^"))
        # split alternates plain text and the four groups of an escape
        plain, escapes = parts[::5], list(_ESCAPE.finditer(inner.removeprefix("^")))
        written = [re.sub(r"([\[/&~])", r"\\\1", part) for part in plain]
        for index, escape in enumerate(escapes):
            written[index] += _in_class(self._character(escape))
        return f"{start}{''.join(written)}]"

    def _problem(self, position: int) -> str:
        excerpt = self._text[position : position + 20]
        if self._text.endswith("\\") or excerpt.startswith('"'):
            return "the text ends inside an escape or a literal"
        return f"found {excerpt!r}"

    def _error(self, problem: str) -> GbnfError:
        return GbnfError(f"line {self._line}: {problem}")


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
    """Set the Lark names of the rules: in capitals for those that can be terminals."""
    users: dict[str, list[str]] = {name: [] for name in rules}
    missing: dict[str, int] = {}  # number of referenced rules that are not terminals yet
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
