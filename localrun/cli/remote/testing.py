"""``localrun remote test``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.services.remotes.testing import AddressTest


def remote_test(
    name: Annotated[str, Argument(help="Remote model.", autocompletion=complete_model)],
    *,
    as_json: AsJson = False,
) -> None:
    """Ask each engine of a remote model for its models and one short answer.

    Example: localrun remote test big
    """
    import os
    from dataclasses import asdict

    from localrun.remote.errors import RemoteEngineError
    from localrun.services.remotes.testing import check_remote
    from localrun.services.workspace import open_workspace

    results, output = check_remote(open_workspace(os.environ), name), Output(as_json=as_json)
    if as_json:
        output.json([{**asdict(result), "is_good": result.is_good} for result in results])
    else:
        output.table(("ADDRESS", "MODEL", "RESULT"), [_row(result) for result in results])
    failed = [result for result in results if not result.is_good]
    if failed:
        raise RemoteEngineError(
            f"{len(failed)} of {len(results)} addresses of {name} did not answer",
            hint=failed[0].hint,
        )


def _row(result: AddressTest) -> tuple[str, str, str]:
    if result.problem is not None:
        return result.url, result.model, result.problem
    listed = "" if result.is_listed else "; the engine does not list the model"
    return result.url, result.model, f"answered after {(result.first_s or 0) * 1000:.0f} ms{listed}"
