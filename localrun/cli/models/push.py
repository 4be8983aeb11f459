"""``localrun push``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes


def push(
    model: Annotated[str, Argument(help="A model that is here.")],
    target: Annotated[
        str | None,
        Argument(help="Where to, such as ghcr.io/me/model:tag."),
    ] = None,
    *,
    insecure: Annotated[bool, Option("--insecure", help="Speak plain http.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a model to an OCI registry; what is there already is not sent again.

    Credentials are those of `docker login`. Docker Model Runner reads what is pushed.

    Example: localrun push mine ghcr.io/me/mine:1.0
    """
    import os
    from dataclasses import asdict

    from localrun.cli.progress import shown_progress
    from localrun.names.parse import parse_name
    from localrun.services.push import push_model
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    source = parse_name(model)
    place = parse_name(target) if target is not None else source
    with shown_progress(output) as report:
        pushed = push_model(open_workspace(os.environ), source, place, report, is_insecure=insecure)
    if as_json:
        output.event({"event": "done", **asdict(pushed)})
    else:
        output.line(f"{pushed.name} is there, {human_bytes(pushed.sent_bytes)} sent")
