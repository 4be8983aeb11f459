"""``localrun rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, agrees, for_each, human_bytes
from localrun.terminal import plain

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


def remove(
    models: Annotated[
        list[str], Argument(metavar="MODEL", help='The models to remove; "qwen*" means several.')
    ],
    *,
    is_sure: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove models; bytes that another model shares stay.

    Where one of several is not here, the others are removed all the same.
    A pattern asks before it removes anything.

    A model that is loaded leaves the memory at once: answers that are under
    way end with an error. A model that shares its weights stays loaded.

    Example: localrun rm qwen3:0.6b
    """
    import os
    from dataclasses import asdict

    from localrun.cli.telling import tell_removed
    from localrun.names.parse import parse_name
    from localrun.services.naming import remove_model
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    output = Output(as_json=as_json)
    gone: list[str] = []

    def remove_one(ref: ModelRef) -> None:
        removed = remove_model(workspace, ref)
        gone.append(removed.name)
        if as_json:
            output.event(asdict(removed))
            return
        output.line(f"removed {plain(removed.name)}, {human_bytes(removed.freed_bytes)} freed")
        if removed.problem is not None:
            output.note(f"warning: no bytes were freed: {removed.problem}")

    names = _meant(workspace, models, is_sure=is_sure)
    refs = {str(ref).lower(): ref for ref in map(parse_name, names)}  # one typed twice is one
    try:
        for_each(list(refs.values()), remove_one, output)
    finally:
        if gone:
            tell_removed(workspace.settings, gone)


def _meant(workspace: Workspace, models: list[str], *, is_sure: bool) -> list[str]:
    """Return the names, those that patterns mean too once the user has agreed.

    Raises:
        ModelNotFoundError: a pattern fits nothing.
        UsageError: the user does not agree, or nobody is there to ask.
    """
    from localrun.errors import ModelNotFoundError, UsageError
    from localrun.services.naming import matching

    if not any(mark in name for name in models for mark in "*?["):
        return models
    known = [entry.ref.name for entry in workspace.store.entries() if entry.is_own]
    names: dict[str, None] = {}
    for model in models:
        found = matching(model, known) if set(model) & set("*?[") else [model]
        if not found:
            raise ModelNotFoundError(f"no model fits {model!r}", hint="localrun list")
        names |= dict.fromkeys(found)
    if not is_sure and not agrees(f"remove {', '.join(names)}?"):
        raise UsageError("nothing was removed", hint="localrun rm --yes ...   does not ask")
    return list(names)
