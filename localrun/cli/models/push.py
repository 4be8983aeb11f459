"""``localrun push``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes


def push(
    model: Annotated[str, Argument(help="Name of a local model.", autocompletion=complete_model)],
    target: Annotated[
        str | None,
        Argument(help="Destination, such as ghcr.io/me/model:tag."),
    ] = None,
    *,
    as_image: Annotated[
        bool, Option("--as-image", help="Push an image that containers mount as a store.")
    ] = False,
    insecure: Annotated[bool, Option("--insecure", help="Use plain HTTP.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model to an OCI registry; files that the registry has are skipped.

    Uses the credentials of `docker login`. Docker Model Runner can pull it.

    With --as-image, the layer of the image is a read-only store with the model, for
    `localrun deploy --model-image`.

    Example: localrun push mine ghcr.io/me/mine:1.0
    """
    import os
    from dataclasses import asdict

    from localrun.cli.progress import shown_progress
    from localrun.names.parse import parse_name
    from localrun.services.deploying.image import push_image
    from localrun.services.push import push_model
    from localrun.services.workspace import open_workspace

    output = Output(as_json=as_json)
    source = parse_name(model)
    destination = parse_name(target) if target is not None else source
    with shown_progress(output) as report:
        push_it = push_image if as_image else push_model
        pushed = push_it(
            open_workspace(os.environ), source, destination, report, is_insecure=insecure
        )
    if as_json:
        output.event({"event": "done", **asdict(pushed)})
    else:
        output.line(f"pushed {pushed.name}, {human_bytes(pushed.sent_bytes)} sent")
