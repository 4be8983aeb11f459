"""Deferred commands: the options of a command are built when it runs, not at every start.

Reading the options of all commands from their functions takes longer than the rest of a short
command. The list of commands needs only their names and first lines.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from localrun.cli.plain_values import read_plainly
from localrun.cli.spellings import respelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typer._click.core import Command


class _Command(TyperCommand):
    """Command whose plain values are read without pydantic, and whose values may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see `get_params`
        """Parse the arguments; return what is left of them."""
        return super().parse_args(ctx, respelled(args))

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer keeps its types to itself
        """Return the parameters of the command."""
        return [read_plainly(parameter) for parameter in super().get_params(ctx)]


class Deferred(TyperCommand):
    """Placeholder of a command until it runs."""

    def __init__(self, name: str, function: Callable[..., Any], *, hidden: bool) -> None:
        super().__init__(name, help=inspect.getdoc(function), hidden=hidden)
        self.function = function

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - typer keeps its types to itself
        """Build the command and return the context that runs it."""
        return built(self).make_context(*args, **options)


def built(command: Deferred) -> Command:
    """Return the command of a placeholder, with its options."""
    return _built(str(command.name), command.function, command.hidden)


@functools.cache
def _built(name: str, function: Callable[..., Any], is_hidden: bool) -> Command:
    info = CommandInfo(name, cls=_Command, callback=function, hidden=is_hidden)
    return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode="rich")


def build_commands(functions: Mapping[str, Callable[..., Any]], *, hidden: bool) -> None:
    """Build commands in a process that will fork."""
    for name, function in functions.items():
        _built(name, function, hidden)


class Commands(TyperGroup):
    """Group of deferred commands."""

    def add_group(self, name: str, about: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Add a command that has commands of its own."""
        group = Commands(name=name, help=about, no_args_is_help=True)
        group.add(functions, hidden=False)
        self.commands[name] = group

    def add(self, functions: Mapping[str, Callable[..., Any]], *, hidden: bool) -> None:
        """Add commands by name."""
        for name, function in functions.items():
            self.commands[name] = Deferred(name, function, hidden=hidden)

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer keeps its types to itself
        """Return the parameters of the group."""
        return [read_plainly(parameter) for parameter in super().get_params(ctx)]
