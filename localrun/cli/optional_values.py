"""Options whose value may be left out, which typer does not know: ``--tools`` and ``--tools DIR``.

The arguments are rewritten before typer reads them: an option without a value gets its default.
The word behind the option is its value only if it looks like one, so that a prompt is none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

PATH_STARTS = ("/", "./", "../", "~", ".\\", "..\\")


def with_values(arguments: Sequence[str], options: Collection[str]) -> list[str]:
    """Return the arguments of a command with a value for each option that may have none.

    ``options`` are the names that the command knows.
    """
    known = {name: rule for name, rule in RULES.items() if name in options}
    if not any(argument in known for argument in arguments):
        return list(arguments)
    written: list[str] = []
    remaining = iter(enumerate(arguments))
    for index, argument in remaining:
        if argument == "--":
            return [*written, *arguments[index:]]
        rule = known.get(argument)
        if rule is None:
            written.append(argument)
            continue
        default, is_value = rule
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if is_value(following):
            next(remaining)
            written.append(f"{argument}={following}")
        else:
            written.append(f"{argument}={default}")
    return written


def _is_tools_value(text: str) -> bool:
    if text in {"read", "write", "shell", ".", ".."} or text.startswith(PATH_STARTS):
        return True
    return bool(text) and "\0" not in text and os.path.isdir(text)  # noqa: PTH112 - quick


RULES: dict[str, tuple[str, Callable[[str], bool]]] = {"--tools": ("read", _is_tools_value)}
