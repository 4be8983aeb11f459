"""``localrun verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output
from localrun.terminal import plain

if TYPE_CHECKING:
    from localrun.services.verify import Verdict


def verify(
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="MODEL", help="Models to verify; default: all.", autocompletion=complete_model
        ),
    ] = None,
    *,
    repair: Annotated[
        bool,
        Option("--repair", help="Download damaged files again from any source that has them."),
    ] = False,
    quick: Annotated[
        bool, Option("--quick", help="Compare sizes only, which finds truncated files.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the files of models against their digests; exit 4 if one is damaged.

    Without a name, unused files are checked too; --repair deletes unused files
    that are damaged. A projector that ended its runner is tried again afterwards.

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
        verdicts = verify_models(workspace, models or (), report, is_repair=repair, is_quick=quick)
    for verdict in verdicts:
        _show(verdict, output)
    if not all(verdict.is_good for verdict in verdicts):
        raise Exit(IntegrityError.exit_code)


def _show(verdict: Verdict, output: Output) -> None:
    from dataclasses import asdict

    if output.as_json:
        output.event({"event": "verdict", "is_good": verdict.is_good, **asdict(verdict)})
        return
    state = "BAD"
    if verdict.is_good:
        state = "repaired" if verdict.is_repaired else "good"
    output.line(f"{plain(verdict.name)}: {state}")
    for blob in verdict.bad:
        output.note(f"  {blob.reason}: {blob.digest}")
    if verdict.problem is not None:
        output.note(f"  {'not repaired: ' if verdict.bad else ''}{verdict.problem}")
    elif verdict.bad and not verdict.is_repaired:
        output.note("  hint: localrun verify --repair")
