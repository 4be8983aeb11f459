"""``localrun load``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, ContextOption, DraftOption
from localrun.cli.output import Output


def load(
    model: Annotated[
        str, Argument(help="Name of the model to load.", autocompletion=complete_model)
    ],
    *,
    pin: Annotated[
        bool,
        Option("--pin", help="Keep the model loaded until `localrun stop`; overrides keep_alive."),
    ] = False,
    ctx: ContextOption = None,
    draft: DraftOption = None,
    keep_alive: Annotated[
        str | None, Option(help="Idle time before the model is unloaded: 10m, 1h, -1 (never).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a model before its first request.

    Example: localrun load guide --pin
    """
    import os

    from localrun.cli.options import check_keep_alive, parse_context
    from localrun.cli.serving.answer import interruptible, load_status
    from localrun.cli.serving.run_options import check_draft
    from localrun.client.launch import FirstRequest, ensure_server
    from localrun.services.workspace import open_workspace

    check_keep_alive(keep_alive)
    num_ctx = parse_context(ctx)
    workspace = open_workspace(os.environ)
    stored = workspace.models.find_model(model)
    name = stored.name
    draft = check_draft(workspace, stored, draft)
    files = (*stored.shards, *stored.draft)
    first = FirstRequest(model=name, num_ctx=num_ctx, files=files, draft=draft)
    fields = {
        "model": name,
        "pin": pin,
        "num_ctx": num_ctx,
        "keep_alive": keep_alive,
        "draft": draft,
    }
    body = {key: value for key, value in fields.items() if value is not None}
    output, load_s = Output(as_json=as_json), 0.0
    with interruptible():
        try:
            for frame in ensure_server(workspace.settings, first).load(body):
                output.status("" if frame["done"] else load_status(frame, name))
                load_s = frame.get("load_s", 0.0)
        finally:
            output.status("")
    if as_json:
        output.json({"name": name, "pinned": pin, "load_s": load_s})
    else:
        output.note(f"loaded {name} in {load_s:.2f} s{' and pinned it' if pin else ''}")
