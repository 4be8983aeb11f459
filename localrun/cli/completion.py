"""Completion by the shell's Tab key: names of models, values of options; the scripts of shells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from localrun.cli.installation.completion_scripts import SCRIPTS
from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LATEST = ":latest"


def one_of(values: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion of a value out of a few."""
    known = list(values)

    def complete_value(incomplete: str) -> list[str]:
        return [value for value in known if value.startswith(incomplete)]

    return complete_value


def completion(
    shell: Annotated[
        str, Argument(help="bash, zsh, fish or powershell.", autocompletion=one_of(SCRIPTS))
    ],
) -> None:
    """Print the script that makes a shell complete commands and models.

    In bash and zsh, ~/.bashrc or ~/.zshrc (after compinit) reads the script:
    source <(localrun completion bash). For fish it is a file,
    ~/.config/fish/completions/localrun.fish; for PowerShell a part of $PROFILE.

    Example: localrun completion bash
    """
    from localrun.errors import UsageError

    if shell not in SCRIPTS:
        raise UsageError(
            f"{shell} is none of {', '.join(SCRIPTS)}", hint="localrun completion bash"
        )
    Output().text(SCRIPTS[shell])


def complete_model(incomplete: str) -> list[str]:
    """Return the names of local models that begin with a text; without ``:latest`` where possible.

    Prints nothing: the user is still typing.
    """
    import logging
    import os

    from localrun.errors import LocalrunError
    from localrun.services.workspace import open_workspace

    logging.disable()
    try:
        known = open_workspace(os.environ).models.names()
    except (LocalrunError, OSError):
        return []
    names = [name for name in known if name.startswith(incomplete)]
    return [name.removesuffix(LATEST) if ":" not in incomplete else name for name in names]
