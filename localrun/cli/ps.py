"""``localrun ps``."""

from __future__ import annotations

from typing import Any

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes, human_seconds

SHOWN_DIGITS = 12


def ps(*, as_json: AsJson = False) -> None:
    """Show the models that are loaded, and until when they stay.

    Example: localrun ps
    """
    import os

    from localrun.client.launch import find_server
    from localrun.settings import load_settings

    client = find_server(load_settings(os.environ))
    models = client.running() if client else []
    output = Output(as_json=as_json)
    if as_json:
        output.json([_plain(model) for model in models])
        return
    output.table(("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), [_row(m) for m in models])


def _plain(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": model["name"],
        "digest": f"sha256:{model['digest']}",
        "size_bytes": model["size"],
        "size_gpu_bytes": model["size_vram"],
        "shared_with": model.get("shared_with"),
        "context": model["context_length"],
        "requests": model["num_open"],
        "until": None if model["stays_for_ever"] else model["expires_at"],
    }


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    return (
        model["name"],
        model["digest"][:SHOWN_DIGITS],
        "shared" if model.get("shared_with") else human_bytes(model["size"]),
        _processor(model["size"], model["size_vram"]),
        str(model["context_length"]),
        _until(model),
    )


def _processor(size: int, on_gpu: int) -> str:
    percent = round(100 * on_gpu / size) if size else 0
    if percent in {0, 100}:
        return "100% GPU" if percent else "100% CPU"
    return f"{100 - percent}%/{percent}% CPU/GPU"


def _until(model: dict[str, Any]) -> str:
    from datetime import datetime

    if model["num_open"]:
        return "busy"
    if model["stays_for_ever"]:
        return "for ever"
    left = datetime.fromisoformat(model["expires_at"]) - datetime.now().astimezone()
    return f"{human_seconds(left.total_seconds())} from now"
