"""Choice of a model's draft model for a load: where it comes from, and whether it is used.

The pool gets a callable that chooses, since only services know the store and the catalog. Sources
are those of `LoadSetting`: "request", "recipe", "default" (the server's setting) and "catalog".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.hardware.reading import shape_of
from localrun.settings import AUTO
from localrun.supervisor.draft_plan import DraftPlan, plan_with_draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan, PlanRequest
    from localrun.hardware.shape import ModelShape
    from localrun.supervisor.model import RunnerModel

    Drafts = Callable[[RunnerModel], "DraftChoice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftChoice:
    """A draft model, or none; ``paths`` is empty if it is not used."""

    name: str = ""
    paths: tuple[Path, ...] = ()
    source: str = "default"
    reason: str = ""  # why it is used or not; "" if there is nothing to say
    size_bytes: int = 0  # with its cells and buffers, once it is planned

    def refused(self, reason: str) -> DraftChoice:
        """Return the choice without its files."""
        return replace(self, paths=(), reason=reason)


NO_DRAFT = DraftChoice()


def recipe_draft(model: RunnerModel) -> DraftChoice:
    """Return the draft model that a request or the recipe names."""
    if not model.draft:
        return NO_DRAFT
    name = model.draft_name or f"DRAFT of {model.name}"
    return DraftChoice(name=name, paths=model.draft, source=model.draft_source)


def needs_other_draft(model: RunnerModel, loaded: RunnerModel, used_paths: Sequence[str]) -> bool:
    """Return whether a request for ``model`` is worth a load with another draft model.

    ``loaded`` is what the runner was loaded for, and ``used_paths`` are the files of the draft
    model that it has. The text does not depend on drafts, so that requests take the runner as it
    is, except for a draft model that the request names, for the recipe's where there is none, and
    for one that the recipe of the same name has in place of the loaded one.
    """
    if model.draft and model.draft_source == "request":
        names = tuple(map(str, model.draft))
        return model.draft != loaded.draft and names != tuple(used_paths)
    has_draft = bool(loaded.draft or used_paths)
    if model.draft:
        is_recipe_of_loaded = loaded.name == model.name and loaded.draft_source == "recipe"
        return not has_draft or (is_recipe_of_loaded and model.draft != loaded.draft)
    return model.draft_rule == AUTO != loaded.draft_rule and not has_draft


def add_draft(
    choice: DraftChoice,
    shape: ModelShape,
    request: PlanRequest,
    plan: LoadPlan,
    devices: Sequence[Device],
) -> tuple[DraftChoice, LoadPlan]:
    """Return the choice and the plan with the draft model, if it costs nothing but free memory."""
    if not choice.paths:
        return choice, plan
    try:
        planned = plan_with_draft(shape, shape_of(choice.paths), request, plan, devices)
    except (LocalrunError, OSError) as error:  # removed since it was chosen, or damaged
        planned = DraftPlan(plan, f"its file cannot be read: {error}")
    if planned.problem:
        return choice.refused(planned.problem), plan
    return replace(choice, size_bytes=planned.size_bytes), planned.plan
