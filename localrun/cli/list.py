"""``localrun list``."""

from __future__ import annotations

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes, human_seconds

SHOWN_DIGITS = 12


def list_command(*, as_json: AsJson = False) -> None:
    """List the models on this machine; no server is needed.

    Example: localrun list
    """
    import os
    from datetime import datetime

    from localrun.services.workspace import open_workspace

    models = open_workspace(os.environ).models.list_models()
    output = Output(as_json=as_json)
    if as_json:
        output.json(
            [
                {
                    "name": model.name,
                    "digest": model.digest,
                    "size_bytes": model.size_bytes,
                    "modified": model.modified.isoformat(),
                    "family": model.details.family,
                    "parameter_size": model.details.parameter_size,
                    "quantization": model.details.quantization_level,
                    "context_length": model.details.context_length,
                    "capabilities": list(model.details.capabilities),
                }
                for model in models
            ]
        )
        return
    now = datetime.now().astimezone()
    rows = [
        (
            model.name,
            model.digest.removeprefix("sha256:")[:SHOWN_DIGITS],
            human_bytes(model.size_bytes),
            f"{human_seconds((now - model.modified).total_seconds())} ago",
        )
        for model in models
    ]
    output.table(("NAME", "ID", "SIZE", "MODIFIED"), rows)
