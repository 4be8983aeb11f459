"""``localrun list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes, human_seconds

if TYPE_CHECKING:
    from localrun.services.stored_model import ModelSummary

SHOWN_DIGITS = 12


def list_command(
    pattern: Annotated[
        str | None,
        Argument(
            help='Name pattern, such as "qwen*" or "*:7b".',
            show_default=False,
            autocompletion=complete_model,
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the models on this machine.

    Example: localrun list "qwen*"
    """
    import os
    from datetime import datetime

    from localrun.services.naming import matching
    from localrun.services.workspace import open_workspace

    models = open_workspace(os.environ).models.list_models()
    if pattern is not None:
        chosen = set(matching(pattern, [model.name for model in models]))
        models = [model for model in models if model.name in chosen]
    output = Output(as_json=as_json)
    if as_json:
        output.json([_as_json(model) for model in models])
        return
    now = datetime.now().astimezone()
    rows = [
        (
            model.name,
            model.digest.removeprefix("sha256:")[:SHOWN_DIGITS],
            "remote" if model.remote else human_bytes(model.size_bytes),
            f"{human_seconds((now - model.modified).total_seconds())} ago",
            ", ".join(model.details.capabilities),
        )
        for model in models
    ]
    output.table(("NAME", "ID", "SIZE", "MODIFIED", "CAPABILITIES"), rows)


def _as_json(model: ModelSummary) -> dict[str, Any]:
    return {
        "name": model.name,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "modified": model.modified.isoformat(),
        "family": model.details.family,
        "parameter_size": model.details.parameter_size,
        "quantization": model.details.quantization_level,
        "context_length": model.details.context_length,
        "capabilities": list(model.details.capabilities),
        "remote": None if model.remote is None else model.remote.to_json(),
    }
