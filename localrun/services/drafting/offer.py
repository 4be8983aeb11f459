"""Offer of a draft model after a pull: the catalog knows one, and there is memory for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.services.drafting.known import KnownDrafts
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.settings import AUTO
from localrun.supervisor.draft_plan import rollback_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.services.workspace import Workspace

NEED = 1.25  # of the file: its cells and buffers


@dataclass(frozen=True, slots=True)
class DraftOffer:
    """A draft model that would be used for a model."""

    name: str
    size_bytes: int  # to download
    is_here: bool

    @property
    def text(self) -> str:
        """Return the offer in a sentence for users, without the size and what a client types."""
        verb = "drafts" if self.is_here else "would draft"
        return f"{self.name} {verb} tokens for it, so that answers come faster"


def offer_draft(
    workspace: Workspace, name: str, devices: Callable[[], Sequence[Device]]
) -> DraftOffer | None:
    """Return the draft model for a stored model, None without one or without memory for it.

    The devices are looked at only if the catalog knows a draft model. Never raises for a model that
    cannot be planned.
    """
    try:
        return _offer(workspace, name, devices)
    except (LocalrunError, OSError):  # the pull itself has succeeded
        return None


def _offer(
    workspace: Workspace, name: str, devices: Callable[[], Sequence[Device]]
) -> DraftOffer | None:
    model = workspace.models.find_model(name)
    is_chat = model.remote is None and "completion" in model.details.capabilities
    if not is_chat or model.draft or workspace.settings.draft != AUTO:
        return None
    known = KnownDrafts(workspace.models.find_model, lambda: workspace.catalog)
    entry = known.entry_for(model.name, model.origin, model.size_bytes)
    if entry is None:
        return None
    planned = plan_memory(workspace, name, MemoryQuery(), devices)
    if rollback_problem(planned.shape, "the model"):
        return None
    if known.stored_name(entry) is not None:
        is_used = bool(planned.draft.paths)
        return DraftOffer(planned.draft.name, 0, is_here=True) if is_used else None
    if _spare_bytes(planned.plan) < NEED * entry.size_bytes:
        return None
    return DraftOffer(f"{entry.name}:{entry.tag}", entry.size_bytes, is_here=False)


def _spare_bytes(plan: LoadPlan) -> int:
    """Return what a plan leaves on the device where a draft model would be."""
    if not plan.fits or plan.split.workers:
        return 0
    share = plan.shares[0] if plan.split.gpus else plan.shares[-1]
    return share.device.free_bytes - share.total_bytes
