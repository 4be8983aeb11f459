"""Imports of files, of archives, and of the models of other tools."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from localrun.cli.output import Output, confirms, human_bytes, is_terminal
from localrun.cli.progress import shown_progress
from localrun.errors import NotFoundError, StorageError, UsageError
from localrun.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.names.ref import ModelRef
    from localrun.services.importing import Imported
    from localrun.services.workspace import Workspace
    from localrun.store.foreign.folders import ForeignTool
    from localrun.store.foreign.model import ForeignModel

Result = TypeVar("Result")


def import_files(
    workspace: Workspace,
    source: str,
    target: ModelRef | None,
    output: Output,
    *,
    is_forced: bool = False,
) -> None:
    """Import a GGUF file or a folder."""
    from localrun.services.importing import import_path

    def act(is_forced: bool) -> list[Imported]:
        with shown_progress(output) as report:
            return import_path(workspace, Path(source), target, report, is_forced=is_forced)

    show_imported(_with_confirmation(act, is_forced=is_forced), output)


def import_from_tool(
    workspace: Workspace,
    tool: str,
    name: str | None,
    target: ModelRef | None,
    output: Output,
    *,
    is_forced: bool = False,
) -> None:
    """Import one model of a tool, or all of them."""
    from localrun.errors import LocalrunError
    from localrun.services.importing import foreign_models, import_model, local_name

    models = foreign_models(workspace, _tool(tool), name)
    if target is not None and len(models) != 1:
        raise UsageError(
            f"{name} matches {len(models)} models of {tool}; a new name needs exactly one"
        )
    if not models:
        output.note(f"{tool} has no models on this machine")
    for model in models:

        def act(is_forced: bool, model: ForeignModel = model) -> Imported:
            ref = target or local_name(model)
            with shown_progress(output) as report:
                return import_model(workspace, model, ref, report, is_forced=is_forced)

        try:
            imported = _with_confirmation(act, is_forced=is_forced)
        except LocalrunError as error:
            if len(models) == 1:
                raise
            output.note(f"warning: {model.name} was skipped: {error.message}")
            continue
        show_imported([imported], output)


def list_of_tool(workspace: Workspace, tool: str, name: str | None, output: Output) -> None:
    """List the models of a tool."""
    from localrun.services.importing import foreign_models

    models = foreign_models(workspace, _tool(tool), name)
    if output.as_json:
        output.json(
            [
                {
                    "name": model.name,
                    "size_bytes": model.size_bytes,
                    "files": [str(file.path) for file in model.files],
                }
                for model in models
            ]
        )
        return
    rows = [(model.name, human_bytes(model.size_bytes)) for model in models]
    if rows:
        output.table(("NAME", "SIZE"), rows)
    else:
        output.note(f"{tool} has no models on this machine")


def import_archive_file(
    workspace: Workspace,
    source: str,
    target: ModelRef | None,
    output: Output,
    *,
    is_forced: bool = False,
) -> None:
    """Import the models of an archive; "-" is stdin.

    Asks on a terminal before a model is replaced.
    """
    from localrun.services.naming import check_target

    if target is not None:
        check_target(target)
    _with_confirmation(
        lambda is_forced: _import_file(workspace, source, target, output, is_forced=is_forced),
        is_forced=is_forced,
    )


def _with_confirmation(act: Callable[[bool], Result], *, is_forced: bool) -> Result:
    """Call ``act``, and again with force if a name conflicts and the user confirms.

    If the archive is read from stdin, stdin is not a terminal and the conflict is raised.
    """
    from localrun.store.archive_names import NameConflictError

    try:
        return act(is_forced)
    except NameConflictError as error:
        if not confirms(f"{error.message}: continue?"):
            raise
    return act(True)


def _import_file(
    workspace: Workspace, source: str, target: ModelRef | None, output: Output, *, is_forced: bool
) -> None:
    if source == "-" and is_terminal(sys.stdin):
        raise UsageError("an archive cannot be typed", hint="localrun import model.tar")
    if source == "-":
        _import_archive(workspace, sys.stdin.buffer, "stdin", target, output, is_forced=is_forced)
        return
    try:
        with Path(source).open("rb") as file:
            _import_archive(workspace, file, source, target, output, is_forced=is_forced)
    except FileNotFoundError as error:
        hint = f"localrun export MODEL -o {source}"
        raise NotFoundError(f"no such file: {source}", hint=hint) from error
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror}") from error


def show_imported(imported: Sequence[Imported], output: Output) -> None:
    """Print the imported models."""
    for model in imported:
        if output.as_json:
            output.event({"event": "done", **asdict(model)})
        else:
            copied = f", {human_bytes(model.copied_bytes)} copied" if model.copied_bytes else ""
            output.line(f"imported {plain(model.name)}, {human_bytes(model.size_bytes)}{copied}")


def _import_archive(
    workspace: Workspace,
    file: BinaryIO,
    name: str,
    target: ModelRef | None,
    output: Output,
    *,
    is_forced: bool,
) -> None:
    from localrun.store.archive import import_archive

    done = 0
    with shown_progress(output) as report:

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            report.advance(name, done, None)

        refs = import_archive(
            workspace.store, file, name=target, on_bytes=on_bytes, is_forced=is_forced
        )
    for ref in refs:
        if output.as_json:
            output.event({"event": "done", "name": ref.name, "manifest": ref.manifest})
        else:
            output.line(f"imported {plain(ref.name)}")


def _tool(text: str) -> ForeignTool:
    from localrun.store.foreign.folders import ForeignTool

    try:
        return ForeignTool(text.lower())
    except ValueError as error:
        known = ", ".join(tool.value for tool in ForeignTool)
        raise UsageError(f"--from {text} is not a known tool", hint=f"one of {known}") from error
