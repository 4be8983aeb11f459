"""Spellings of options that Typer does not know: values that may be left out.

    --think            --think=true            --tools            --tools=read
    --think=high       as it is                --tools FOLDER     --tools=FOLDER
    --think high       --think=high            --tools write      --tools=write
    --no-think         --think=false           --keepalive 5m     --keep-alive 5m

The word behind ``--think`` or ``--tools`` is its value only if it is one of the values, or the path
of a folder, so that a prompt is none.

Works on the arguments of a command before they are parsed. Nothing behind ``--`` is changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

END = "--"
DEFAULTS = {"--think": "true", "--tools": "read"}
VALUES = {
    "--think": {"low", "medium", "high", "max", "true", "false"},
    "--tools": {"read", "write", "shell"},
}
TOOLS_VALUES = ("/", "./", "../", "~", ".\\", "..\\")
OTHER_NAMES = {
    "--keepalive": "--keep-alive",
    "--hidethinking": "--hide-thinking",
    "--no-think": "--think=false",
    "--nothink": "--think=false",
}


def respelled(
    arguments: Sequence[str], is_folder: Callable[[str], bool] = os.path.isdir
) -> list[str]:
    """Return the arguments as Typer parses them."""
    result: list[str] = []
    remaining = list(reversed(arguments))
    while remaining:
        argument = remaining.pop()
        if argument == END:
            return [*result, argument, *reversed(remaining)]
        name, equals, value = argument.partition("=")
        name = OTHER_NAMES.get(name, name) if argument.startswith("--") else name
        if name in DEFAULTS and not equals:
            takes_next = bool(remaining) and _is_value(name, remaining[-1], is_folder)
            value = remaining.pop() if takes_next else DEFAULTS[name]
            equals = "="
        result.append(name + equals + value)
    return result


def _is_value(name: str, word: str, is_folder: Callable[[str], bool]) -> bool:
    if word in VALUES[name]:
        return True
    return name == "--tools" and (word.startswith(TOOLS_VALUES) or is_folder(word))
