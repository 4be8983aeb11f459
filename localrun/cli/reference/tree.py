"""Commands of this program as plain values, for the texts that are generated from them.

Independent of the terminal: neither its width nor its colours change a value.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.cli.app import command_line
from localrun.cli.deferred import Commands, Deferred, built

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = re.compile(r"^Examples?:\s*", re.MULTILINE)
BETWEEN_EXAMPLES = re.compile(r"\n+|, (?=localrun )")
TYPES = {str: "TEXT", int: "NUMBER", float: "NUMBER"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """An argument, or an option with its names."""

    names: tuple[str, ...]
    value: str  # what an option takes, such as FILE; "" for a flag
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPage:
    """What is to be said about one command."""

    name: str  # with the program: localrun service install
    usage: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    arguments: tuple[Term, ...]
    options: tuple[Term, ...]


def command_pages() -> list[CommandPage]:
    """Return the pages of all commands that are not hidden, in the order of the help."""
    root = command_line()
    assert isinstance(root, Commands)  # noqa: S101 - what `app` builds
    return list(_pages(root, "localrun"))


def _pages(group: Commands, name: str) -> Iterator[CommandPage]:
    for child_name, command in group.commands.items():
        if command.hidden:
            continue
        full_name = f"{name} {child_name}"
        yield _page(command, full_name)
        if isinstance(command, Commands):
            yield from _pages(command, full_name)


def _page(command: Any, name: str) -> CommandPage:  # noqa: ANN401 - typer keeps its types to itself
    text = inspect.cleandoc(command.help or "")
    command = built(command) if isinstance(command, Deferred) else command
    about, *rest = EXAMPLES.split(text, maxsplit=1)
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    words = ["[OPTIONS]"] if options else []
    words += ["COMMAND ..."] if isinstance(command, Commands) else map(_usage, arguments)
    return CommandPage(
        name=name,
        usage=" ".join([name, *words]),
        paragraphs=tuple(" ".join(each.split()) for each in about.split("\n\n") if each.strip()),
        examples=tuple(filter(None, BETWEEN_EXAMPLES.split("".join(rest).strip()))),
        arguments=tuple(_argument(each) for each in arguments),
        options=tuple(_option(each) for each in options),
    )


def _usage(argument: Any) -> str:  # noqa: ANN401 - typer keeps its types to itself
    name = _metavar(argument)
    dots = "..." if argument.nargs == -1 else ""
    return f"{name}{dots}" if argument.required else f"[{name}{dots}]"


def _metavar(argument: Any) -> str:  # noqa: ANN401 - typer keeps its types to itself
    return str(argument.metavar or argument.name.upper())


def _argument(argument: Any) -> Term:  # noqa: ANN401 - typer keeps its types to itself
    return Term(names=(_metavar(argument),), value="", meaning=argument.help or "")


def _option(option: Any) -> Term:  # noqa: ANN401 - typer keeps its types to itself
    annotation = option.type_descriptor.annotation
    value = "" if option.is_flag else option.metavar or TYPES.get(annotation, "TEXT")
    default = option.default
    if not option.is_flag and default not in {None, ""} and not callable(default):
        meaning = f"{option.help} Default: {default}."
    else:
        meaning = option.help or ""
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=lambda name: name[:2] == "--"))
    return Term(names=names, value=value, meaning=meaning)
