"""Parser of Go templates: from tokens to the syntax tree, with bounded depth and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.gotemplate import literals
from localrun.chat.gotemplate.lexer import TokenKind, tokens
from localrun.chat.gotemplate.pipelines import PipelineReader
from localrun.chat.gotemplate.tree import (
    Action,
    If,
    Jump,
    Range,
    Template,
    TemplateCall,
    TextNode,
    With,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.chat.gotemplate.lexer import Token
    from localrun.chat.gotemplate.tree import Node, Pipe

MAX_DEPTH = 40  # of if, with and range: Python allows 100 levels of indentation
MAX_LOOPS = 12  # of range alone: Python allows 20 nested loops
MAX_BRANCHES = 100
_CLOSERS = frozenset({"end", "else"})


def parse(source: str) -> Template:
    """Return the syntax tree of a template.

    Raises:
        GoTemplateError: the source is malformed, or exceeds a limit.
    """
    return _Parser(source).run()


@dataclass(frozen=True, slots=True)
class _Body:
    nodes: tuple[Node, ...]
    closer: Token  # the word that ends it, or END


class _Parser:
    def __init__(self, source: str) -> None:
        self._reader = PipelineReader(source, tokens(source))
        self._template = Template()
        self._depth = 0
        self._num_loops = 0
        self._statements: dict[str, Callable[[Token], Node | None]] = {
            "if": self._if,
            "with": self._with,
            "range": self._range,
            "template": self._call,
            "block": self._block,
            "define": self._define,
            "break": self._jump,
            "continue": self._jump,
        }

    def run(self) -> Template:
        body = self._body()
        if body.closer.kind is not TokenKind.END:
            self._reader.fail(f"{{{{ {body.closer.text} }}}} without a beginning", body.closer)
        self._template.body = body.nodes
        self._template.names = self._reader.names
        self._template.reassigns = self._reader.reassigns
        return self._template

    def _body(self) -> _Body:
        nodes: list[Node] = []
        while (token := self._reader.take()).kind is not TokenKind.END:
            if token.kind is TokenKind.TEXT:
                nodes.append(TextNode(token.text))
                continue
            word = self._reader.skip_space()
            if word.kind is TokenKind.WORD and word.text in _CLOSERS:
                return _Body(tuple(nodes), self._reader.take())
            node = self._action(word)
            if node is not None:
                nodes.append(node)
        return _Body(tuple(nodes), token)

    def _action(self, word: Token) -> Node | None:
        if word.kind is TokenKind.WORD and word.text in self._statements:
            return self._statements[word.text](self._reader.take())
        return Action(self._reader.pipeline(TokenKind.CLOSE))

    def _if(self, word: Token) -> Node:
        return self._branches(word, If)

    def _with(self, word: Token) -> Node:
        return self._branches(word, With)

    def _branches(self, word: Token, node_type: type[If | With]) -> Node:
        """Return the branches as nested nodes, parsed in a loop: a long chain must not recurse."""
        mark = self._enter(word)
        branches: list[tuple[Pipe, tuple[Node, ...]]] = []
        orelse: tuple[Node, ...] = ()
        while True:
            pipe = self._reader.pipeline(TokenKind.CLOSE)
            body = self._inner(word)
            branches.append((pipe, body.nodes))
            if body.closer.text == "end" or not self._goes_on(word):
                break
            if len(branches) == MAX_BRANCHES:
                self._reader.fail(f"more than {MAX_BRANCHES} branches", word)
        if body.closer.text == "else":
            orelse = self._else(word)
        else:
            self._reader.expect(TokenKind.CLOSE)
        self._leave(mark)
        for pipe, nodes in reversed(branches):
            orelse = (node_type(pipe, nodes, orelse),)
        return orelse[0]

    def _goes_on(self, word: Token) -> bool:
        """Return whether ``else`` is followed by the same word; move behind the word."""
        following = self._reader.skip_space()
        if following.kind is not TokenKind.WORD:
            return False
        if following.text != word.text:
            self._reader.fail(f"unexpected {following.text!r} after else", following)
        self._reader.take()
        return True

    def _else(self, word: Token) -> tuple[Node, ...]:
        self._reader.expect(TokenKind.CLOSE)
        body = self._inner(word)
        if body.closer.text != "end":
            self._reader.fail("expected {{ end }} and found a second else", body.closer)
        self._reader.expect(TokenKind.CLOSE)
        return body.nodes

    def _inner(self, word: Token) -> _Body:
        body = self._body()
        if body.closer.kind is TokenKind.END:
            self._reader.fail(f"{{{{ {word.text} }}}} has no {{{{ end }}}}", word)
        return body

    def _range(self, word: Token) -> Node:
        mark = self._enter(word)
        pipe = self._reader.pipeline(TokenKind.CLOSE, num_targets=2)
        self._num_loops += 1
        if self._num_loops > MAX_LOOPS:
            self._reader.fail(f"range is nested deeper than {MAX_LOOPS}", word)
        body = self._inner(word)
        self._num_loops -= 1
        orelse: tuple[Node, ...] = ()
        if body.closer.text == "else":
            orelse = self._else(word)
        else:
            self._reader.expect(TokenKind.CLOSE)
        self._leave(mark)
        return Range(pipe, body.nodes, orelse)

    def _jump(self, word: Token) -> Node:
        if not self._num_loops:
            self._reader.fail(f"{{{{ {word.text} }}}} outside of range", word)
        self._reader.expect(TokenKind.CLOSE)
        return Jump(word.text)

    def _call(self, word: Token) -> Node:
        name = self._name()
        if self._reader.skip_space().kind is TokenKind.CLOSE:
            self._reader.take()
            return TemplateCall(name, None, self._reader.position(word))
        return TemplateCall(
            name, self._reader.pipeline(TokenKind.CLOSE), self._reader.position(word)
        )

    def _block(self, word: Token) -> Node:
        name = self._name()
        pipe = self._reader.pipeline(TokenKind.CLOSE)
        self._add(name, word)
        return TemplateCall(name, pipe, self._reader.position(word))

    def _define(self, word: Token) -> None:
        if self._depth:
            self._reader.fail("{{ define }} inside of another action", word)
        name = self._name()
        self._reader.expect(TokenKind.CLOSE)
        self._add(name, word)

    def _add(self, name: str, word: Token) -> None:
        """Add the body of a named template, in a scope without outer variables."""
        scope, self._reader.scope = self._reader.scope, []
        num_loops, self._num_loops = self._num_loops, 0
        mark = self._enter(word)
        body = self._inner(word)
        if body.closer.text != "end":
            self._reader.fail("unexpected else", body.closer)
        self._reader.expect(TokenKind.CLOSE)
        self._leave(mark)
        self._reader.scope, self._num_loops = scope, num_loops
        self._template.defined[name] = body.nodes

    def _name(self) -> str:
        token = self._reader.skip_space()
        if token.kind not in {TokenKind.STRING, TokenKind.RAW}:
            self._reader.fail("a template's name in quotes is missing")
        self._reader.take()
        return literals.string(token.text) if token.kind is TokenKind.STRING else token.text[1:-1]

    def _enter(self, word: Token) -> int:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._reader.fail(f"actions are nested deeper than {MAX_DEPTH}", word)
        return len(self._reader.scope)

    def _leave(self, mark: int) -> None:
        self._depth -= 1
        del self._reader.scope[mark:]
