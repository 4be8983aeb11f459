"""Commands whose options are built when they are asked for, not at every start.

Reading the options of all commands from their functions costs more than all else that
a short command does; a list of commands needs only their names and first lines.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Deferred(TyperCommand):
    """Stands for a command until it is called."""

    def __init__(self, name: str, function: Callable[..., Any], *, hidden: bool) -> None:
        super().__init__(name, help=inspect.getdoc(function), hidden=hidden)
        self._function = function

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - typer keeps its types to itself
        """Build the command, and return the context that calls it."""
        info = CommandInfo(self.name, callback=self._function, hidden=self.hidden)
        command = get_command_from_info(
            info, pretty_exceptions_short=False, rich_markup_mode="rich"
        )
        return command.make_context(*args, **options)


class Commands(TyperGroup):
    """A group of such commands."""

    def add(self, functions: Mapping[str, Callable[..., Any]], *, hidden: bool) -> None:
        """Add commands by their names."""
        for name, function in functions.items():
            self.commands[name] = Deferred(name, function, hidden=hidden)
