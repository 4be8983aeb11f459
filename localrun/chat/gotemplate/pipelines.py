"""Parser of the pipelines in a Go template's actions, with the variables in scope."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, NoReturn

from localrun.chat.gotemplate import literals
from localrun.chat.gotemplate.lexer import GoTemplateError, TemplatePosition, TokenKind
from localrun.chat.gotemplate.tree import (
    Chain,
    Command,
    Declaration,
    Dot,
    FieldAccess,
    Function,
    Literal,
    Operand,
    Pipe,
    Variable,
)

if TYPE_CHECKING:
    from localrun.chat.gotemplate.lexer import Token

MAX_NESTING = 20  # parentheses and stages of a pipeline: Jinja parses them recursively
MAX_OPERANDS = 64
MAX_VARIABLES = 256  # in scope: a lookup searches all of them
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}


class PipelineReader:
    """A position in the tokens that only moves forward, and the variables in scope."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._newlines = [index for index, char in enumerate(source) if char == "\n"]
        self._tokens = tokens
        self._at = 0
        self._num_declared = 0
        self._num_open = 0
        self.scope: list[Declaration] = []
        self.names: set[str] = set()  # of all fields, in lower case
        self.reassigns = False

    def peek(self) -> Token:
        """Return the next token."""
        return self._tokens[self._at]

    def take(self) -> Token:
        """Return the next token and move behind it."""
        token = self._tokens[self._at]
        self._at += 1
        return token

    def skip_space(self) -> Token:
        """Move behind space, and return the next token."""
        if self.peek().kind is TokenKind.SPACE:
            self._at += 1
        return self.peek()

    def expect(self, kind: TokenKind) -> Token:
        """Return the next token behind space and move behind it; fail if it has another kind."""
        if self.skip_space().kind is not kind:
            self.fail(f"expected {kind.value!r}, found {_shown(self.peek())}")
        return self.take()

    def fail(self, problem: str, token: Token | None = None) -> NoReturn:
        """Raise an error at a token, by default the next one."""
        raise self._error(problem, token or self.peek())

    def position(self, token: Token) -> TemplatePosition:
        """Return the position of a token."""
        line = bisect(self._newlines, token.offset - 1)
        begin = self._newlines[line - 1] if line else -1
        return TemplatePosition(line + 1, token.offset - begin)

    def pipeline(self, end: TokenKind, *, num_targets: int = 1) -> Pipe:
        """Return the pipeline through the token ``end``; a range may have two targets."""
        begin = self.skip_space()
        names, is_declaration = self._targets(num_targets)
        commands = [self._command(end, is_first=True)]
        while self.peek().kind is TokenKind.PIPE:
            self.take()
            commands.append(self._command(end, is_first=False))
        self.expect(end)
        targets = tuple(self._target(name, is_new=is_declaration) for name in names)
        pipe = Pipe(tuple(commands), targets, is_declaration)
        if _height(pipe) > MAX_NESTING:
            self.fail(f"the expression is nested deeper than {MAX_NESTING}", begin)
        return pipe

    def _error(self, problem: str, token: Token) -> GoTemplateError:
        return GoTemplateError(problem, self.position(token))

    def _targets(self, most: int) -> tuple[list[Token], bool]:
        """Return the variables of ``$i, $x :=`` or ``$x =``; move only if there are any."""
        begin, targets = self._at, []
        while self.skip_space().kind is TokenKind.VARIABLE:
            targets.append(self.take())
            following = self.skip_space().kind
            if following in {TokenKind.DECLARE, TokenKind.ASSIGN}:
                if len(targets) > most:
                    self.fail("too many variables before := or =", targets[0])
                return targets, self.take().kind is TokenKind.DECLARE
            if following is not TokenKind.COMMA:
                break
            self.take()
        self._at = begin
        return [], False

    def _target(self, token: Token, *, is_new: bool) -> Declaration:
        if is_new:
            if len(self.scope) >= MAX_VARIABLES:
                self.fail(f"more than {MAX_VARIABLES} variables are declared here", token)
            self._num_declared += 1
            self.scope.append(Declaration(token.text, self._num_declared))
            return self.scope[-1]
        declaration = self._declaration(token)
        if declaration is None:
            self.fail("'$' cannot be assigned", token)
        declaration.is_reassigned = self.reassigns = True
        return declaration

    def _declaration(self, token: Token) -> Declaration | None:
        if token.text == "$":
            return None
        for declaration in reversed(self.scope):
            if declaration.name == token.text:
                return declaration
        raise self._error(f"the variable {token.text} is not declared here", token)

    def _command(self, end: TokenKind, *, is_first: bool) -> Command:
        begin = self.skip_space()
        operands: list[Operand] = []
        while self.skip_space().kind not in {end, TokenKind.PIPE}:
            operands.append(self._operand())
            if self.peek().kind not in {TokenKind.SPACE, TokenKind.PIPE, end}:
                self.fail(f"unexpected {_shown(self.peek())}")
        if not operands:
            self.fail("a value is missing", begin)
        if len(operands) > MAX_OPERANDS:
            self.fail(f"a command has more than {MAX_OPERANDS} operands", begin)
        command = Command(tuple(operands))
        self._check(command, begin, is_first=is_first)
        return command

    def _check(self, command: Command, begin: Token, *, is_first: bool) -> None:
        head = command.operands[0]
        if isinstance(head, Function):
            return
        if len(command.operands) > 1 or not is_first:
            self.fail(f"{_shown(begin)} is no function and takes no arguments", begin)
        if head == Literal(None):
            self.fail("nil is not a command", begin)

    def _operand(self) -> Operand:
        token = self.take()
        match token.kind:
            case TokenKind.LEFT:
                return self._parenthesized(token)
            case TokenKind.DOT:
                return Dot()
            case TokenKind.FIELD:
                return FieldAccess(self._fields(token))
            case TokenKind.VARIABLE:
                return Variable(self._declaration(token), self._fields())
            case TokenKind.WORD:
                return self._word(token)
        return Literal(self._literal(token))

    def _parenthesized(self, token: Token) -> Operand:
        self._num_open += 1
        if self._num_open > MAX_NESTING:
            self.fail(f"the expression is nested deeper than {MAX_NESTING}", token)
        pipe = self.pipeline(TokenKind.RIGHT, num_targets=0)
        self._num_open -= 1
        return Chain(pipe, self._fields())

    def _fields(self, first: Token | None = None) -> tuple[str, ...]:
        tokens = [first] if first else []
        while self.peek().kind is TokenKind.FIELD:
            tokens.append(self.take())
        if len(tokens) > MAX_OPERANDS:
            self.fail(f"more than {MAX_OPERANDS} fields in a row", tokens[0])
        names = tuple(token.text[1:] for token in tokens)
        self.names.update(name.lower() for name in names)
        return names

    def _word(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text])
        return Function(token.text, self.position(token))

    def _literal(self, token: Token) -> str | float:
        try:
            match token.kind:
                case TokenKind.RAW:
                    return token.text[1:-1].replace("\r", "")
                case TokenKind.STRING:
                    return literals.string(token.text)
                case TokenKind.CHAR:
                    return ord(literals.string(token.text))
                case TokenKind.NUMBER:
                    return literals.number(token.text)
        except (ValueError, TypeError):
            self.fail(f"malformed {token.kind.value} {token.text}", token)
        raise self._error(f"unexpected {_shown(token)}", token)


def _height(pipe: Pipe) -> int:
    """Return the nesting depth of the pipeline written as calls."""
    num_commands = len(pipe.commands)
    return max(
        num_commands - index + max(_operand_height(operand) for operand in command.operands)
        for index, command in enumerate(pipe.commands)
    )


def _operand_height(operand: Operand) -> int:
    return _height(operand.pipe) if isinstance(operand, Chain) else 0


def _shown(token: Token) -> str:
    return repr(token.text) if token.text else token.kind.value
