"""Conversion of a Go template's expressions to Jinja.

Truth, and ``and`` and ``or``, which return an argument, are the same in Go and Python and become
Jinja's. All else becomes calls of the functions in ``runtime.py``, because Go and Python differ in
values that occur in templates: bytes and characters, missing keys, printed booleans and nil, JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.lexer import GoTemplateError
from localrun.chat.gotemplate.tree import Chain, Dot, FieldAccess, Function, Literal, Variable

if TYPE_CHECKING:
    from localrun.chat.gotemplate.tree import Command, Declaration, LiteralValue, Operand, Pipe

NAMESPACE = "v"  # of reassigned variables: a set inside a loop would not last
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Arity:
    """The allowed number of arguments of a function."""

    least: int
    most: int = MOST


FUNCTIONS = {
    "and": Arity(1),
    "or": Arity(1),
    "not": Arity(1, 1),
    "eq": Arity(2),
    "ne": Arity(2, 2),
    "lt": Arity(2, 2),
    "le": Arity(2, 2),
    "gt": Arity(2, 2),
    "ge": Arity(2, 2),
    "len": Arity(1, 1),
    "index": Arity(1),
    "slice": Arity(1, 4),
    "json": Arity(1, 1),
    "print": Arity(0),
    "println": Arity(0),
    "printf": Arity(1),
    "currentDate": Arity(0),
    "yesterdayDate": Arity(0),
    "toTypeScriptType": Arity(1, 1),
}
_RENAMED = {"print": "print_all"}  # go_print prints the value of an action
_NATIVE = {"and": " and ", "or": " or "}
_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\t"): "\\t"}
_ESCAPES |= {code: f"\\x{code:02x}" for code in (*range(32), 127) if code not in _ESCAPES}


@dataclass(frozen=True, slots=True)
class Scope:
    """The Jinja names of ``$`` and ``.`` in an expression."""

    root: str
    dot: str


def variable(declaration: Declaration) -> str:
    """Return the Jinja name of a variable."""
    name = f"x{declaration.number}"
    return f"{NAMESPACE}.{name}" if declaration.is_reassigned else name


def quoted(text: str) -> str:
    """Return a text as a Jinja literal."""
    return f'"{text.translate(_ESCAPES)}"'


def converted(pipe: Pipe, context: Scope) -> str:
    """Return a pipeline's value as a Jinja expression.

    Raises:
        GoTemplateError: a function is unknown or has a wrong number of arguments.
    """
    value = ""
    for command in pipe.commands:
        value = _command(command, context, piped=value)
    return value


def _command(command: Command, context: Scope, *, piped: str) -> str:
    head, *others = command.operands
    if not isinstance(head, Function):
        return _operand(head, context)
    arguments = [_operand(operand, context) for operand in others]
    return _call(head, [*arguments, piped] if piped else arguments)


def _call(function: Function, arguments: list[str]) -> str:
    name = function.name
    _check(function, len(arguments))
    if name in _NATIVE:
        return f"({_NATIVE[name].join(arguments)})"
    if name == "not":
        return f"(not {arguments[0]})"
    return f"go_{_RENAMED.get(name, name)}({', '.join(arguments)})"


def _check(function: Function, num_arguments: int) -> None:
    arity = FUNCTIONS.get(function.name)
    if arity is None:
        raise GoTemplateError(f"the function {function.name} is not known", function.position)
    if not arity.least <= num_arguments <= arity.most:
        problem = f"the function {function.name} does not take {num_arguments} arguments"
        raise GoTemplateError(problem, function.position)


def _operand(operand: Operand, context: Scope) -> str:
    match operand:
        case Literal():
            return _literal(operand.value)
        case Dot():
            return context.dot
        case FieldAccess():
            return _fields(context.dot, operand.names)
        case Variable():
            of = operand.declaration
            return _fields(context.root if of is None else variable(of), operand.names)
        case Chain():
            return _fields(converted(operand.pipe, context), operand.names)
        case Function():
            return _call(operand, [])


def _literal(value: LiteralValue) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"({value!r})"


def _fields(value: str, names: tuple[str, ...]) -> str:
    if not names:
        return value
    return f"go_field({', '.join([value, *map(quoted, names)])})"
