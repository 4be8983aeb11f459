"""Files of a deployment: to stdout, to a folder, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.deploy.description import DeployFile

NOT_IN_STREAM = {"kustomization.yaml"}  # names files


def print_files(
    files: Sequence[DeployFile],
    notes: Sequence[str],
    *,
    folder: str | None,
    is_forced: bool,
    as_json: bool,
    is_stream: bool = False,
) -> None:
    """Print or write files; ``is_stream``: all of them are one stream of YAML documents."""
    from pathlib import Path

    from localrun.services.deploying.writing import write_files

    output = Output(as_json=as_json)
    if folder is not None:
        write_files(files, Path(folder).expanduser(), is_forced=is_forced)
    if as_json:
        shown = [{"name": each.name, "text": each.text} for each in files]
        output.json({"folder": folder, "files": shown, "notes": list(notes)})
        return
    if folder is not None:
        for each in files:
            output.line(f"{folder}/{each.name}")
    elif is_stream:
        kept = [each for each in files if each.name not in NOT_IN_STREAM]
        output.text("".join(f"---\n# {each.name}\n{each.text}" for each in kept))
    else:
        output.text("\n".join(f"# ==> {each.name} <==\n{each.text}" for each in files))
    for note in notes:
        output.note(f"note: {note}")
