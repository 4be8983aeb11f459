"""``localrun mv``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.errors import LocalrunError


def move(
    source: Annotated[str, Argument(help="A model that is here.")],
    target: Annotated[str, Argument(help="Its new name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give a model another name; its bytes stay where they are.

    A model that is loaded stays loaded, and answers under way go on.

    Example: localrun mv qwen3:0.6b small
    """
    import os

    from localrun.cli.telling import tell_renamed
    from localrun.errors import LocalrunError
    from localrun.names.parse import parse_name
    from localrun.services.naming import move_model
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    problems: list[LocalrunError] = []

    def carry_along(old: str, new: str) -> None:
        try:
            tell_renamed(workspace.settings, old, new)
        except LocalrunError as error:  # the model gets its name all the same
            problems.append(error)

    name = move_model(workspace, parse_name(source), parse_name(target), carry_along)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "source": source})
    else:
        output.line(f"{source} is {name} now")
    if problems:
        raise problems[0]
