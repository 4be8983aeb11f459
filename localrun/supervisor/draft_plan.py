"""Draft models in a load plan: a draft model may take memory that is free, and nothing else.

A plan with a draft model has the layers, the context and the cells of the plan without it. The
draft model is computed where the first layers on this machine are: whole on the first card, or on
the processor. Its cells are as many as the model's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.hardware.need import Setup, cell_bytes, compute_bytes, output_bytes
from localrun.hardware.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan, PlanRequest
    from localrun.hardware.shape import ModelShape

GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """A plan that includes a draft model; without it if there is a problem."""

    plan: LoadPlan
    problem: str = ""
    size_bytes: int = 0  # of the draft model, with its cells and buffers


def plan_with_draft(
    shape: ModelShape,
    draft: ModelShape,
    request: PlanRequest,
    plan: LoadPlan,
    devices: Sequence[Device],
) -> DraftPlan:
    """Return the plan with a draft model, or the reason why it stays without."""
    problem = rollback_problem(shape, "the model") or rollback_problem(draft, "the draft model")
    if problem:
        return DraftPlan(plan, problem)
    size = draft_bytes(draft, plan.setup)
    return plan_with_bytes(shape, size, request, plan, devices)


def plan_with_bytes(
    shape: ModelShape,
    size_bytes: int,
    request: PlanRequest,
    plan: LoadPlan,
    devices: Sequence[Device],
) -> DraftPlan:
    """Return the plan with so many bytes of a draft model, if they cost nothing but free memory."""
    needs = f"the draft model needs {size_bytes / GIGABYTE:.2f} GB"
    if not plan.fits:
        return DraftPlan(plan, f"{needs}, and the model alone does not fit")
    if plan.split.workers:
        return DraftPlan(plan, "not with layers on workers")
    extra = request.extra_bytes + size_bytes
    larger = make_plan(shape, replace(request, num_ctx=plan.num_ctx, extra_bytes=extra), devices)
    if not larger.fits:
        return DraftPlan(plan, f"{needs}, more than is free")
    if larger.split != plan.split:
        return DraftPlan(plan, f"{needs}, which would cost layers on the GPU")
    if larger.num_ctx != plan.num_ctx or larger.setup != plan.setup:
        return DraftPlan(plan, f"{needs}, which would cost context")
    same = {name: getattr(plan, name) for name in ("reason", "advice", "asked_ctx", "context_note")}
    return DraftPlan(replace(larger, **same), size_bytes=size_bytes)


def draft_bytes(draft: ModelShape, setup: Setup) -> int:
    """Return the bytes of a draft model beside a model with this setup."""
    own = Setup(num_cells=setup.num_cells, num_slots=setup.num_slots, step_tokens=setup.step_tokens)
    cells = sum(cell_bytes(layer, draft, own) for layer in draft.layers)
    return draft.weight_bytes + cells + compute_bytes(draft, own) + output_bytes(draft, own)


def rollback_problem(shape: ModelShape, whose: str) -> str:
    """Return why a model with this shape cannot take the tokens of a draft model back, or ""."""
    if any(layer.state_bytes for layer in shape.layers):
        return f"{whose} has recurrent layers, which cannot take rejected tokens back"
    if any(layer.is_windowed for layer in shape.layers):
        return f"{whose} has sliding windows, which cannot take rejected tokens back"
    return ""
