"""``localrun du``."""

from __future__ import annotations

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes


def disk_usage(*, as_json: AsJson = False) -> None:
    """Show the disk usage of models: own files, and files shared between models.

    Example: localrun du
    """
    import os
    from dataclasses import asdict

    from localrun.services.workspace import open_workspace
    from localrun.store.prompts import saved_bytes
    from localrun.store.usage import usage

    workspace = open_workspace(os.environ)
    used = usage(workspace.store)
    prompt_bytes = saved_bytes(workspace.settings.prompts_dir)
    output = Output(as_json=as_json)
    if as_json:
        path = str(workspace.settings.models_dir)
        output.json({"path": path, **asdict(used), "prompt_bytes": prompt_bytes})
        return
    rows = [
        (
            model.name,
            human_bytes(model.total_bytes),
            human_bytes(model.own_bytes),
            human_bytes(model.shared_bytes),
        )
        for model in used.models
    ]
    if rows:
        output.table(("NAME", "SIZE", "OWN", "SHARED"), rows)
    output.line(f"{human_bytes(used.total_bytes)} in {workspace.settings.models_dir}")
    parts = (
        (used.linked_bytes, "shared with files of other tools"),
        (used.partial_bytes, "of unfinished downloads; the same pull resumes them"),
        (used.unused_bytes, "of unused files; localrun prune deletes them"),
        (prompt_bytes, f"of saved prompts in {workspace.settings.prompts_dir}"),
    )
    for size, kind in parts:
        if size:
            output.line(f"{human_bytes(size)} {kind}")
