"""Syntax tree of a Go template: immutable nodes, except for declarations and the template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.chat.gotemplate.lexer import TemplatePosition


@dataclass(slots=True, eq=False)
class Declaration:
    """One ``$name :=``: two of the same name are two variables."""

    name: str
    number: int
    is_reassigned: bool = False


LiteralValue = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, ``true``, ``false`` or ``nil`` (None)."""

    value: LiteralValue


@dataclass(frozen=True, slots=True)
class Dot:
    """``.``: the value of the enclosing range, with or template."""


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """``.A.B``."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x.A.B``; ``$`` itself, the template's own data, has no declaration."""

    declaration: Declaration | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).A.B``."""

    pipe: Pipe
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: of the command if it is the first operand, else called without arguments."""

    name: str
    position: TemplatePosition


Operand = Literal | Dot | FieldAccess | Variable | Chain | Function


@dataclass(frozen=True, slots=True)
class Command:
    """Operands between two ``|``."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each of which takes the value before it as its last argument."""

    commands: tuple[Command, ...]
    targets: tuple[Declaration, ...]  # variables that the value is assigned to
    is_declaration: bool  # := and not =


@dataclass(frozen=True, slots=True)
class TextNode:
    """Text between actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is printed, unless it is assigned to a variable."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class If:
    """``{{ if }}``; an else-if is an If alone in ``orelse``."""

    pipe: Pipe
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class With:
    """``{{ with }}``."""

    pipe: Pipe
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """``{{ range }}``."""

    pipe: Pipe
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """``{{ template "name" pipeline }}``."""

    name: str
    pipe: Pipe | None
    position: TemplatePosition


@dataclass(frozen=True, slots=True)
class Jump:
    """``{{ break }}`` or ``{{ continue }}``."""

    word: str


Node = TextNode | Action | If | With | Range | TemplateCall | Jump


@dataclass(slots=True)
class Template:
    """A whole source: its own nodes and those of each ``define``."""

    body: tuple[Node, ...] = ()
    defined: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # of all fields, in lower case
    reassigns: bool = False  # a variable is assigned a second value
