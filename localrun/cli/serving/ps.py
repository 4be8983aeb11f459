"""``localrun ps``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes, human_seconds

if TYPE_CHECKING:
    from localrun.settings import Settings

SHOWN_DIGITS = 12
HEADS = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "STATE", "REQUESTS", "TOKENS/S", "UNTIL")
WATCH_S = 1.0


def ps(
    *,
    watch: Annotated[bool, Option("--watch", help="Repeat every second.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the loaded models, their requests, and when they will be unloaded.

    If no model is loaded, a note reports whether a server is running.

    Example: localrun ps --watch
    """
    import os
    import time

    from localrun.settings import load_settings

    settings, output = load_settings(os.environ), Output(as_json=as_json)
    models = _models(settings)
    while watch:
        output.fresh_screen()
        _show(models, settings, output, one_line=True)
        time.sleep(WATCH_S)
        models = _models(settings)
    _show(models, settings, output, one_line=False)


def _models(settings: Settings) -> list[dict[str, Any]] | None:
    """Return the models of the server, None if no server is running."""
    from localrun.client.launch import find_server

    client = find_server(settings)
    return client.states() if client else None


def _show(
    rows: list[dict[str, Any]] | None, settings: Settings, output: Output, *, one_line: bool
) -> None:
    models = rows or []
    if not output.as_json:
        output.table(HEADS, [_row(model) for model in models])
        for model in models:
            if model.get("context_note"):  # absent in older servers
                output.line(f"{model['name']}: context {model['context_note']}")
            if model.get("context_lacks_memory"):
                output.line(f"{model['name']}: too little memory is free for more KV cache cells")
        if rows is None:
            output.note(f"no server is running at {settings.address}")
        elif not rows:
            output.note("nothing is loaded")
    elif one_line:
        output.event([_plain(model) for model in models])
    else:
        output.json([_plain(model) for model in models])


def _plain(model: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in model.items() if key != "stays_for_ever"}
    return {**shown, "requests": model["running"] + model["waiting"]}


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    is_loaded = bool(model["size_bytes"])
    size = "shared" if model["shared_with"] else human_bytes(model["size_bytes"])
    waiting = f" +{model['waiting']}" if model["waiting"] else ""
    return (
        model["name"],
        model["digest"].removeprefix("sha256:")[:SHOWN_DIGITS],
        size if is_loaded else "",
        _processor(model) if is_loaded else "",
        _context(model) if is_loaded else "",
        _state(model),
        f"{model['running']}{waiting}",
        f"{model['tokens_per_s']:.1f}" if model["tokens_per_s"] else "",
        _until(model),
    )


def _processor(model: dict[str, Any]) -> str:
    size, on_gpu = model["size_bytes"], model["size_gpu_bytes"]
    away = sum(model.get("worker_bytes", {}).values())  # absent in older servers
    if away and size:
        shares = {"CPU": size - on_gpu, "GPU": on_gpu - away, "workers": away}
        shown = {name: part for name, part in shares.items() if part > 0}
        percents = "/".join(f"{100 * part / size:.0f}%" for part in shown.values())
        return f"{percents} {'/'.join(shown)}"
    percent = round(100 * on_gpu / size) if size else 0
    if percent in {0, 100}:
        return "100% GPU" if percent else "100% CPU"
    return f"{100 - percent}%/{percent}% CPU/GPU"


def _context(model: dict[str, Any]) -> str:
    """Return the context size of one sequence, and the cells of the KV cache.

    The cells are the share in use, those that have memory, and all that are reserved.
    """
    if not model["context_total"]:
        return str(model["context"])
    total = model["context_total"]
    percent = 100 * model["context_used"] / total
    allocated = model.get("context_allocated", total)  # absent in older servers
    return f"{model['context']} ({percent:.0f}% used, {allocated}/{total} cells)"


def _state(model: dict[str, Any]) -> str:
    state: str = model["state"]
    if state == "loading":
        return f"loading {100 * model['progress']:.0f}%"
    if state == "failed":
        return f"failed: {model['reason']}"
    return f"{state}, pinned" if model["pinned"] else state


def _until(model: dict[str, Any]) -> str:
    from datetime import datetime

    if model["state"] == "failed":
        return f"retried in {human_seconds(model['retry_after_s'] or 0)}"
    if model["stays_for_ever"]:
        return "for ever"
    if model["until"] is None:
        return "busy"
    left = datetime.fromisoformat(model["until"]) - datetime.now().astimezone()
    return f"{human_seconds(left.total_seconds())} from now"
