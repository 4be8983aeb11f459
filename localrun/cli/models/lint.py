"""``localrun lint``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Exit

from localrun.cli.options import AsJson, RecipeArguments, parse_arguments
from localrun.cli.output import Output


def lint(
    files: Annotated[list[str], Argument(metavar="FILE", help="Modelfiles; - reads stdin.")],
    *,
    arg: RecipeArguments = None,
    as_json: AsJson = False,
) -> None:
    """Report all problems of Modelfiles; exit 2 if one is an error.

    Example: localrun lint Modelfile
    """
    import os
    from dataclasses import asdict

    from localrun.errors import NotFoundError
    from localrun.modelfile.problems import render_problem
    from localrun.services.creating.recipe_files import lint_recipe
    from localrun.services.workspace import open_workspace

    workspace, output = open_workspace(os.environ), Output(as_json=as_json)
    arguments = parse_arguments(arg or [])
    problems, exit_code = [], 0
    for file in files:
        try:
            problems += lint_recipe(workspace, file, arguments)
        except NotFoundError as error:  # the problems of the other files are reported too
            output.error(error)
            exit_code = error.exit_code
    if as_json:
        output.json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            output.line(render_problem(problem))
    if any(problem.severity == "error" for problem in problems):
        raise Exit(2)
    raise Exit(exit_code)
