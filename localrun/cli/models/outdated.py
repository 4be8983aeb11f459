"""``localrun outdated``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer import Exit

from localrun.cli.models.pulling import all_others, note_unversioned
from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.services.pulling.outdated import Freshness


def outdated(*, as_json: AsJson = False) -> None:
    """List the models that have a newer version at their origin.

    Exits with 5 if an origin cannot be reached.

    Example: localrun outdated && localrun pull --all
    """
    import os
    from dataclasses import asdict

    from localrun.errors import NetworkError
    from localrun.services.pulling.outdated import find_outdated
    from localrun.services.workspace import open_workspace

    models = find_outdated(open_workspace(os.environ))
    output = Output(as_json=as_json)
    if as_json:
        output.json([asdict(model) for model in models])
    else:
        _show(models, output)
    if any(model.problem is not None for model in models):
        raise Exit(NetworkError.exit_code)


def _show(models: list[Freshness], output: Output) -> None:
    problems = [model for model in models if model.problem is not None]
    for model in problems:
        output.note(f"warning: {model.name}: {model.problem}")
    note_unversioned(models, output)
    rows = [(model.name, model.origin) for model in models if model.is_outdated]
    if rows:
        output.table(("NAME", "ORIGIN"), rows)
        output.note("localrun pull --all   downloads them")
    elif not problems:
        output.note(f"{all_others(models)} are up to date")
