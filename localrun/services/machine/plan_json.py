"""Memory plan as JSON, for the commands and the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.hardware.placement import Share
    from localrun.hardware.plan import LoadPlan
    from localrun.runner.messages import JsonObject
    from localrun.supervisor.draft_choice import DraftChoice


def draft_to_json(draft: DraftChoice) -> JsonObject | None:
    """Return the draft model of a plan as a JSON object, None if there is nothing to say."""
    if not (draft.paths or draft.reason):
        return None
    return {
        "name": draft.name or None,
        "is_used": bool(draft.paths),
        "source": draft.source,
        "reason": draft.reason,
        "size_bytes": draft.size_bytes,
    }


def plan_to_json(plan: LoadPlan) -> JsonObject:
    """Return the plan as a JSON object; sizes in bytes."""
    return {
        "context": plan.num_ctx,
        "asked_context": plan.asked_ctx,
        "context_note": plan.context_note,
        "cells": plan.setup.num_cells,
        "parallel": plan.setup.num_slots,
        "cache_type": plan.setup.cache_type,
        "fits": plan.fits,
        "reason": plan.reason,
        "advice": list(plan.advice),
        "gpu_layers": plan.split.num_gpu_layers,
        "host_expert_layers": plan.split.num_host_experts,
        "devices": [_share(share) for share in plan.shares],
        "total_bytes": plan.total_bytes,
    }


def _share(share: Share) -> JsonObject:
    return {
        "device": share.device.name,
        "description": share.device.description,
        "worker": share.device.worker or None,
        "reason": share.device.reason,
        "layers": share.num_layers,
        "weight_bytes": share.weight_bytes,
        "cache_bytes": share.cell_bytes,
        "buffer_bytes": share.buffer_bytes,
        "total_bytes": share.total_bytes,
        "free_bytes": share.device.free_bytes,
    }
