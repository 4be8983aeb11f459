"""Questions of a server's clients about models and machine, answered in child processes.

    {"kind": "plan", "name": "qwen3:8b", "ctx": null}
    {"kind": "search", "text": "coder", "limit": 20}
    {"kind": "lint", "modelfile": "FROM guide"}
    {"kind": "doctor"}

Jobs like those of ``jobs.py``: they import what the server must not, and end with their client.
No path of this machine is looked at for a client.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from localrun.services.creating.recipe_files import lint_for_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.services.machine.memory_plan import MemoryPlan
    from localrun.services.workspace import Workspace

    Inspect = Callable[[Workspace, Mapping[str, Any]], dict[str, Any]]


GIGABYTE = 10**9


def plan(workspace: Workspace, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the memory plan of a model, with a summary in one line."""
    from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
    from localrun.services.machine.plan_json import draft_to_json, plan_to_json
    from localrun.supervisor.devices import ChosenDevices

    settings = workspace.settings
    devices = ChosenDevices(settings.device, os.environ, most_bytes=settings.memory_bytes)
    found = plan_memory(workspace, order["name"], MemoryQuery(num_ctx=order["ctx"]), devices)
    summary = f"cannot be loaded: {found.unknown}" if found.unknown else _summary(found)
    return {
        "name": found.name,
        "is_here": found.is_here,
        "cannot_load": found.unknown,
        "summary": summary,
        "projector_bytes": found.projector_bytes,
        "draft": draft_to_json(found.draft),
        **plan_to_json(found.plan),
    }


def search(workspace: Workspace, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the repositories of the hubs that match a text."""
    from localrun.services.search import search_models
    from localrun.supervisor.devices import only_processor

    (processor,) = only_processor()
    hits = search_models(workspace, order["text"], order["limit"], processor.total_bytes)
    return asdict(hits)


def lint(workspace: Workspace, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the problems of a recipe."""
    problems = lint_for_clients(workspace, order["modelfile"].encode(errors="replace"))
    return {"problems": [asdict(problem) for problem in problems]}


def doctor(workspace: Workspace, _order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the findings of all health checks."""
    from localrun.services.machine.doctor import examine

    return {"findings": [asdict(finding) for finding in examine(workspace, os.environ)]}


def _summary(found: MemoryPlan) -> str:
    plan = found.plan
    gpu, total = plan.split.num_gpu_layers, sum(share.num_layers for share in plan.shares)
    where = f"{gpu} of {total} layers on the GPU" if gpu else "on the processor"
    size = plan.total_bytes
    memory = f"{size / 1e9:.1f} GB" if size >= GIGABYTE else f"{size / 1e6:.0f} MB"
    fits = "fits" if plan.fits else "does not fit"
    gain = "is better" if plan.fits else "would fit"
    advice = "".join(f"; it {gain} with {one}" for one in plan.advice[:1])
    draft = f"; {found.draft.name} drafts tokens" if found.draft.paths else ""
    return f"{fits}: {where}, {memory}, context of {plan.num_ctx:,} tokens{draft}{advice}"


INSPECTIONS: dict[str, Inspect] = {"plan": plan, "search": search, "lint": lint, "doctor": doctor}
