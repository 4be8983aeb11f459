"""The ways to pull: by name, everything that moved, exactly what a lock file says."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from localrun.cli.output import Output, human_bytes
from localrun.cli.progress import shown_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.plan import Plan
    from localrun.services.pull import Pulled, PullOptions
    from localrun.services.workspace import Workspace

IDLE_PRIORITY, IDLE_CLASS = 19, 3


def pull_named(
    workspace: Workspace,
    names: Sequence[str],
    options: PullOptions,
    output: Output,
    *,
    dry_run: bool,
) -> None:
    """Pull models, one after another; a file's name imports it."""
    from localrun.names.parse import parse_name
    from localrun.services.plan import make_plan
    from localrun.services.pull import pull_model

    for ref in [parse_name(name) for name in names]:
        if dry_run:
            show_plan(workspace, make_plan(workspace, ref, is_insecure=options.is_insecure), output)
            continue
        with shown_progress(output) as report:
            pulled = pull_model(workspace, ref, options, report)
        show_pulled(pulled, output)


def pull_all(workspace: Workspace, options: PullOptions, output: Output, *, dry_run: bool) -> None:
    """Pull every model again whose origin has another version now."""
    from localrun.services.outdated import find_outdated

    moved = [model.name for model in find_outdated(workspace) if model.is_outdated]
    if not moved and not output.as_json:
        output.note("all models are up to date")
    pull_named(workspace, moved, options, output, dry_run=dry_run)


def pull_locked(workspace: Workspace, file: str, options: PullOptions, output: Output) -> None:
    """Pull what a lock file says, to the byte."""
    from localrun.services.lock import plans_of, read_lock
    from localrun.services.pull import run_plan

    for plan in plans_of(workspace, read_lock(file)):
        with shown_progress(output) as report:
            pulled = run_plan(workspace, plan, options, report)
        show_pulled(pulled, output)


def show_plan(workspace: Workspace, plan: Plan, output: Output) -> None:
    """Tell what a pull would fetch."""
    find = workspace.store.blobs.find
    files = [
        {
            "file": planned.file.name,
            "role": planned.role.value,
            "size_bytes": planned.file.size_bytes,
            "digest": planned.file.digest,
            "is_here": planned.file.digest is not None and find(planned.file.digest) is not None,
        }
        for planned in plan.files
    ]
    if output.as_json:
        output.event({"event": "plan", "model": str(plan.ref), "files": files})
        return
    for note in plan.notes:
        output.note(note)
    rows = [
        (
            str(file["file"]),
            "?" if file["size_bytes"] is None else human_bytes(int(str(file["size_bytes"]))),
            "here" if file["is_here"] else "to fetch",
        )
        for file in files
    ]
    output.table(("FILE", "SIZE", "STATE"), rows)


def show_pulled(pulled: Pulled, output: Output) -> None:
    """Tell what a pull did."""
    if output.as_json:
        output.event({"event": "done", **asdict(pulled)})
        return
    if pulled.fetched_bytes == 0 and not pulled.is_changed:
        output.line(f"{pulled.name} is up to date")
    else:
        output.line(f"{pulled.name} is complete, {human_bytes(pulled.fetched_bytes)} fetched")


def lowest_priority() -> None:
    """Let everything else on the machine go first."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(IDLE_PRIORITY)
    with contextlib.suppress(ImportError, OSError, AttributeError, ValueError):
        import psutil

        psutil.Process().ionice(IDLE_CLASS)
