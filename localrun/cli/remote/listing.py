"""``localrun remote list``."""

from __future__ import annotations

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def remote_list(*, as_json: AsJson = False) -> None:
    """List the remote models, their addresses and where their keys are; asks no engine.

    Example: localrun remote list
    """
    import os

    from localrun.services.remotes.stored import short_name
    from localrun.services.workspace import open_workspace

    models = open_workspace(os.environ).models.list_models()
    remotes = [(model.name, model.remote) for model in models if model.remote is not None]
    output = Output(as_json=as_json)
    if as_json:
        output.json([{"name": name, **remote.to_json()} for name, remote in remotes])
    elif remotes:
        rows = [
            (
                short_name(name) if place == 0 else "",
                address.model,
                address.url,
                remote.engine.value,
                remote.key_reference or "none",
            )
            for name, remote in remotes
            for place, address in enumerate(remote.addresses)
        ]
        output.table(("NAME", "MODEL", "ADDRESS", "ENGINE", "KEY"), rows)
    else:
        output.note("no remote models; localrun remote add NAME URL   adds one")
