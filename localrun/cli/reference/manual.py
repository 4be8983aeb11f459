"""Hidden command of the texts that are generated from the commands."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.output import Output


def manual(
    *,
    markdown: Annotated[
        bool, Option("--markdown", help="Print localrun/docs/cli.md instead of the manual page.")
    ] = False,
) -> None:
    """Print the manual page, for man -l -.

    Example: localrun manual | man -l -
    """
    from localrun.cli.reference.markdown import as_markdown
    from localrun.cli.reference.roff import as_roff

    Output().text(as_markdown() if markdown else as_roff())
