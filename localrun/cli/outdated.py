"""``localrun outdated``."""

from __future__ import annotations

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def outdated(*, as_json: AsJson = False) -> None:
    """List the models that have another version where they came from.

    Example: localrun outdated && localrun pull --all
    """
    import os
    from dataclasses import asdict

    from localrun.services.outdated import find_outdated
    from localrun.services.workspace import open_workspace

    found = find_outdated(open_workspace(os.environ))
    output = Output(as_json=as_json)
    if as_json:
        output.json([asdict(model) for model in found])
        return
    for model in found:
        if model.problem is not None:
            output.note(f"warning: {model.name}: {model.problem}")
    rows = [(model.name, model.origin) for model in found if model.is_outdated]
    if rows:
        output.table(("NAME", "ORIGIN"), rows)
        output.note("localrun pull --all   fetches them")
    else:
        output.note("all models are up to date")
