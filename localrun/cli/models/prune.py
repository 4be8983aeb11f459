"""``localrun prune``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, counted, human_bytes


def prune(
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would be deleted.")] = False,
    partial: Annotated[
        bool, Option("--partial", help="Also delete recent unfinished downloads.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete unused files, saved prompts, and downloads not resumed for a week.

    Example: localrun prune --dry-run
    """
    import os
    from dataclasses import asdict

    from localrun.disk import remove_abandoned
    from localrun.services.workspace import open_workspace
    from localrun.store.garbage import PARTIAL_KEPT_S, collect_garbage
    from localrun.store.prompts import remove_saved, saved_bytes

    workspace = open_workspace(os.environ)
    kept_s = 0.0 if partial else PARTIAL_KEPT_S
    garbage = collect_garbage(workspace.store, partial_kept_s=kept_s, is_dry=dry_run)
    prompts_dir = workspace.settings.prompts_dir
    prompt_bytes = saved_bytes(prompts_dir) if dry_run else remove_saved(prompts_dir)
    if not dry_run:
        remove_abandoned(workspace.settings.needs_file)
    output = Output(as_json=as_json)
    if as_json:
        output.json({**asdict(garbage), "prompt_bytes": prompt_bytes, "is_dry_run": dry_run})
        return
    deleted = f"{counted(len(garbage.blobs), 'file')} and "
    deleted += counted(len(garbage.partial), "unfinished download")
    freed = "would be freed" if dry_run else "freed"
    output.line(f"{deleted}, {human_bytes(garbage.freed_bytes)} {freed}")
    if prompt_bytes:
        output.line(f"saved prompts, {human_bytes(prompt_bytes)} {freed}")
