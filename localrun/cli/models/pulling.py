"""Pulls: by name, of all outdated models, and of a lock file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from localrun.cli.output import Output, for_each, human_bytes
from localrun.cli.progress import shown_progress
from localrun.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.hardware.device import Device
    from localrun.names.ref import ModelRef
    from localrun.services.pulling.outdated import Freshness
    from localrun.services.pulling.plan import PullPlan
    from localrun.services.pulling.pull import Pulled, PullOptions
    from localrun.services.workspace import Workspace


def pull_named(
    workspace: Workspace,
    names: Sequence[str],
    options: PullOptions,
    output: Output,
    *,
    dry_run: bool,
) -> None:
    """Pull models one after another, also after a failure."""
    from localrun.names.parse import parse_name
    from localrun.registry.http import OfflineError
    from localrun.services.pulling.offline import complete_here, embedded_here
    from localrun.services.pulling.plan import make_plan

    def pull(ref: ModelRef) -> None:
        if (embedded := embedded_here(workspace, ref)) is not None:
            show_pulled(embedded, output)
            return
        try:
            plan = make_plan(workspace, ref, is_insecure=options.is_insecure)
        except OfflineError:
            if (kept := complete_here(workspace.store, ref)) is None:
                raise
            output.note(f"LOCALRUN_OFFLINE is set: {kept.name} was not checked for updates")
            show_pulled(kept, output, is_known_newest=False)
            return
        _run(workspace, plan, options, output, dry_run=dry_run)

    for_each([parse_name(name) for name in names], pull, output)


def pull_all(workspace: Workspace, options: PullOptions, output: Output, *, dry_run: bool) -> None:
    """Pull every model whose origin has another version now."""
    from localrun.errors import NetworkError
    from localrun.services.pulling.outdated import find_outdated, plan_of_newest

    def pull(model: Freshness) -> None:
        if model.problem is not None:
            raise NetworkError(f"{model.name}: {model.problem}", hint="localrun outdated")
        plan = plan_of_newest(workspace, model.name)
        _run(workspace, plan, options, output, dry_run=dry_run)

    models = find_outdated(workspace)
    outdated = [model for model in models if model.is_outdated or model.problem is not None]
    note_unversioned(models, output)
    if not outdated and not output.as_json:
        output.note(f"{all_others(models)} are up to date")
    for_each(outdated, pull, output)


def note_unversioned(models: Sequence[Freshness], output: Output) -> None:
    """Print the models whose origin reports no version to compare with."""
    for model in models:
        if model.is_untold:
            hint = f"localrun pull {model.name}   downloads it again"
            output.note(f"{model.name}: its origin reports no version; {hint}")


def all_others(models: Sequence[Freshness]) -> str:
    """Return "all models", or "all other models" if notes were printed about some."""
    return "all other models" if any(model.is_untold for model in models) else "all models"


def pull_locked(
    workspace: Workspace, file: str, options: PullOptions, output: Output, *, dry_run: bool
) -> None:
    """Pull exactly the files of a lock file."""
    from localrun.services.pulling.lock import plans_of, read_lock

    plans = plans_of(workspace, read_lock(file), is_insecure=options.is_insecure)
    for_each(plans, lambda plan: _run(workspace, plan, options, output, dry_run=dry_run), output)


def _run(
    workspace: Workspace, plan: PullPlan, options: PullOptions, output: Output, *, dry_run: bool
) -> None:
    """Run a plan, or print it."""
    from localrun.services.pulling.pull import run_plan

    if dry_run:
        show_plan(workspace, plan, output)
        return
    with shown_progress(output) as report:
        pulled = run_plan(workspace, plan, options, report)
    show_pulled(pulled, output)
    note_draft(workspace, pulled.name, output)


def note_draft(workspace: Workspace, name: str, output: Output) -> None:
    """Print which small model drafts tokens for a pulled model, or could; downloads nothing."""
    import os

    from localrun.services.drafting.offer import offer_draft
    from localrun.services.machine.devices import check_choice
    from localrun.supervisor.devices import ChosenDevices

    settings = workspace.settings

    def devices() -> Sequence[Device]:
        chosen = check_choice(settings.device, os.environ)
        return ChosenDevices(chosen, os.environ, most_bytes=settings.memory_bytes)()

    offer = offer_draft(workspace, name, devices)
    if offer is None:
        return
    if output.as_json:
        output.event({"event": "draft", "model": name, **asdict(offer)})
    else:
        size = f" ({human_bytes(offer.size_bytes)}): localrun pull {offer.name}"
        output.note(offer.text if offer.is_here else f"{offer.text}{size}")


def show_plan(workspace: Workspace, plan: PullPlan, output: Output) -> None:
    """Print the files that a pull would download."""
    from localrun.services.pulling.translated import is_here

    files = [
        {
            "file": planned.file.name,
            "role": planned.role.value,
            "size_bytes": planned.file.size_bytes,
            "digest": planned.file.digest,
            "is_here": is_here(workspace, planned),
        }
        for planned in plan.files
    ]
    if output.as_json:
        event = {"event": "plan", "model": str(plan.ref), "notes": plan.notes, "files": files}
        output.event(event)
        return
    for note in plan.notes:
        output.note(note)
    output.note(f"pulling {plan.ref} would download:")
    rows = [
        (
            str(file["file"]),
            "?" if file["size_bytes"] is None else human_bytes(int(str(file["size_bytes"]))),
            "present" if file["is_here"] else "missing",
        )
        for file in files
    ]
    output.table(("FILE", "SIZE", "STATE"), rows)


def show_pulled(pulled: Pulled, output: Output, *, is_known_newest: bool = True) -> None:
    """Print the result of a pull."""
    if output.as_json:
        output.event({"event": "done", **asdict(pulled)})
        return
    if pulled.fetched_bytes == 0 and not pulled.is_changed:
        output.line(f"{plain(pulled.name)} is {'up to date' if is_known_newest else 'complete'}")
    else:
        output.line(
            f"{plain(pulled.name)} is complete, {human_bytes(pulled.fetched_bytes)} downloaded"
        )
