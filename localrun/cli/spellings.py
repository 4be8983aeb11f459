"""Spellings of options that Typer does not know: values that may be left out.

    --think            --think=true            --tools            --tools=read
    --think=high       as it is                --tools FOLDER     --tools=FOLDER
    --no-think         --think=false           --keepalive 5m     --keep-alive 5m

The word behind ``--tools`` is its value only if it looks like one, so that a prompt is none.

Works on the arguments of a command before they are parsed. Nothing behind ``--`` is changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

END = "--"
DEFAULTS = {"--think": "true", "--tools": "read"}
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
            following = remaining[-1] if remaining and name == "--tools" else ""
            takes_next = following.startswith(TOOLS_VALUES) or is_folder(following)
            value = remaining.pop() if takes_next else DEFAULTS[name]
            equals = "="
        result.append(name + equals + value)
    return result
