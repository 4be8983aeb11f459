"""``localrun rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, confirms, for_each, human_bytes
from localrun.terminal import plain

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


def remove(
    models: Annotated[
        list[str],
        Argument(
            metavar="MODEL",
            help='Models to remove; patterns such as "qwen*" match several.',
            autocompletion=complete_model,
        ),
    ],
    *,
    is_sure: Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove models; files that other models use are kept.

    If one of several models does not exist, the others are removed anyway.
    Patterns ask for confirmation.

    A loaded model is unloaded at once: its running answers end with an error.
    A model that shares its weights stays loaded.

    Example: localrun rm qwen3:0.6b
    """
    import os
    from dataclasses import asdict

    from localrun.cli.notifications import notify_removed
    from localrun.names.parse import parse_name
    from localrun.services.naming import remove_model
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    output = Output(as_json=as_json)
    removed_names: list[str] = []

    def remove_one(ref: ModelRef) -> None:
        removed = remove_model(workspace, ref)
        removed_names.append(removed.name)
        if as_json:
            output.event(asdict(removed))
            return
        output.line(f"removed {plain(removed.name)}, {human_bytes(removed.freed_bytes)} freed")
        if removed.problem is not None:
            output.note(f"warning: no space was freed: {removed.problem}")

    names = _expanded(workspace, models, is_sure=is_sure)
    refs = {str(ref).lower(): ref for ref in map(parse_name, names)}  # without repeated names
    try:
        for_each(list(refs.values()), remove_one, output)
    finally:
        if removed_names:
            notify_removed(workspace.settings, removed_names)


def _expanded(workspace: Workspace, models: list[str], *, is_sure: bool) -> list[str]:
    """Return the names, with patterns expanded after the user has confirmed.

    Raises:
        ModelNotFoundError: a pattern matches no model.
        UsageError: the user does not confirm, or stdin is not a terminal.
    """
    from localrun.errors import ModelNotFoundError, UsageError
    from localrun.services.naming import matching

    if not any(mark in name for name in models for mark in "*?["):
        return models
    known = [entry.ref.name for entry in workspace.store.entries() if entry.is_own]
    names: dict[str, None] = {}
    for model in models:
        matches = matching(model, known) if set(model) & set("*?[") else [model]
        if not matches:
            raise ModelNotFoundError(f"no model matches {model!r}", hint="localrun list")
        names |= dict.fromkeys(matches)
    if not is_sure and not confirms(f"remove {', '.join(names)}?"):
        raise UsageError("nothing was removed", hint="localrun rm --yes ...   does not ask")
    return list(names)
