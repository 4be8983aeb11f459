"""``localrun verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.services.verify import Verdict


def verify(
    models: Annotated[list[str] | None, Argument(metavar="[MODEL...]", help="Only these.")] = None,
    *,
    repair: Annotated[
        bool, Option("--repair", help="Fetch what is bad again, from any source that has it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every byte of the models against their digests; exit 4 when one is bad.

    Example: localrun verify --repair
    """
    import os

    from localrun.cli.progress import shown_progress
    from localrun.errors import IntegrityError
    from localrun.services.verify import verify_models
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    workspace = open_workspace(os.environ)
    with shown_progress(output) as report:
        verdicts = verify_models(workspace, models or (), report, is_repair=repair)
    for verdict in verdicts:
        _show(verdict, output)
    if any(verdict.bad and not verdict.is_repaired for verdict in verdicts):
        raise Exit(IntegrityError.exit_code)


def _show(verdict: Verdict, output: Output) -> None:
    from dataclasses import asdict

    if output.as_json:
        output.event({"event": "verdict", "is_good": not verdict.bad, **asdict(verdict)})
        return
    state = "good"
    if verdict.bad:
        state = "repaired" if verdict.is_repaired else "BAD"
    output.line(f"{verdict.name}: {state}")
    for blob in verdict.bad:
        output.note(f"  {blob.reason}: {blob.digest}")
    if verdict.problem is not None:
        output.note(f"  not repaired: {verdict.problem}")
    elif verdict.bad and not verdict.is_repaired:
        output.note("  hint: localrun verify --repair")
