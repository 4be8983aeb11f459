"""``localrun pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.errors import ModelNotFoundError
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace


def pull(  # noqa: PLR0913 - one parameter a flag
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="MODEL",
            help="Models, such as qwen3:0.6b or hf.co/owner/repo:Q4_K_M.",
            autocompletion=complete_model,
        ),
    ] = None,
    *,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only list what would be downloaded.")
    ] = False,
    every: Annotated[bool, Option("--all", help="Update all pulled models.")] = False,
    locked: Annotated[
        str | None, Option(metavar="FILE", help="Pull exactly the files in this lock file.")
    ] = None,
    limit_rate: Annotated[
        str | None, Option(metavar="RATE", help="Maximum bytes per second: 5M, 800K.")
    ] = None,
    background: Annotated[
        bool, Option("--background", help="One connection, lowest priority for disk and CPU.")
    ] = False,
    insecure: Annotated[
        bool, Option("--insecure", help="Use plain HTTP with an OCI registry.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download models; resumes interrupted downloads and skips complete ones.

    Without a tag, the quantization Q4_K_M is chosen if it exists. To resume an
    interrupted download, run the same command again.

    Examples:
    localrun pull qwen3:0.6b

    localrun pull hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0 --limit-rate 5M
    """
    import os

    from localrun.cli.models.pulling import pull_all, pull_locked, pull_named
    from localrun.errors import UsageError
    from localrun.services.pulling.pull import PullOptions
    from localrun.services.workspace import open_workspace
    from localrun.variables import parse_rate

    if sum((bool(models), every, locked is not None)) != 1:
        raise UsageError(
            "specify model names, or --all, or --locked FILE", hint="localrun pull qwen3:0.6b"
        )
    workspace = open_workspace(os.environ)
    options = PullOptions(
        limit_bytes_per_s=parse_rate(limit_rate) if limit_rate else None,
        num_streams=1 if background else None,
        is_insecure=insecure,
    )
    if background:
        from localrun.system.processes import lower_priority

        lower_priority()
    output = Output(as_json=as_json)
    if locked is not None:
        pull_locked(workspace, locked, options, output, dry_run=dry_run)
    elif every:
        pull_all(workspace, options, output, dry_run=dry_run)
    else:
        pull_named(workspace, models or [], options, output, dry_run=dry_run)


def find_or_pull(workspace: Workspace, name: str, *, is_insecure: bool = False) -> StoredModel:
    """Return a local model; pull it first if it is missing, by plain HTTP if ``is_insecure``."""
    from localrun.errors import ModelNotFoundError

    try:
        return workspace.models.find_model(name)
    except ModelNotFoundError as error:
        not_found = error
    return _pull_missing(workspace, name, not_found, is_insecure=is_insecure)


def _pull_missing(
    workspace: Workspace, name: str, not_found: ModelNotFoundError, *, is_insecure: bool
) -> StoredModel:
    """Pull a model that is not here; raise the error if no hub and no registry has it either."""
    from localrun.cli.models.pulling import note_draft
    from localrun.cli.offer import can_ask, check_accepted
    from localrun.cli.progress import shown_progress
    from localrun.errors import ModelNotFoundError
    from localrun.names.adapters import split_adapters
    from localrun.names.parse import parse_name
    from localrun.services.pulling.plan import is_elsewhere, make_plan
    from localrun.services.pulling.pull import PullOptions, run_plan

    if split_adapters(name)[1]:  # the error names the missing base or adapter
        raise not_found
    ref = parse_name(name)
    if not is_elsewhere(workspace, ref):
        similar = workspace.catalog.near(name)
        if (not_found.hint or "").startswith("localrun run "):  # a local model
            raise not_found
        hint = f"localrun run {similar[0]}" if similar else f"localrun search {ref.model}"
        raise ModelNotFoundError(not_found.message, hint=f"{hint}; localrun list") from not_found
    output = Output()
    if not can_ask():
        output.note(f"{name} is not on this machine; pulling it")
    plan = make_plan(workspace, ref, is_insecure=is_insecure)
    if can_ask():
        check_accepted(name, plan)
    with shown_progress(output) as report:
        pulled = run_plan(workspace, plan, PullOptions(is_insecure=is_insecure), report)
    note_draft(workspace, pulled.name, output)
    return workspace.models.find_model(pulled.name)
