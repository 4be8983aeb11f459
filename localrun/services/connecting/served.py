"""Models of a running server, as a tool that connects to it would find them.

The context of a model is the one that a request without `num_ctx` gets: that of the loaded model,
else that of the plan on this machine. A server elsewhere plans by itself: only what it has loaded
is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.integrations.target import RoleModel
from localrun.services.machine.devices import check_choice
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.supervisor.devices import ChosenDevices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.client.api import LocalrunClient
    from localrun.runner.messages import JsonObject
    from localrun.services.workspace import Workspace

LATEST = ":latest"
UNKNOWN_CONTEXT = 4096  # no plan has a shorter context, unless the model's own is


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model in the server's list."""

    name: str
    capabilities: tuple[str, ...]
    size_bytes: int
    trained_context: int  # tokens; 0 if the file does not tell
    loaded_context: int | None = None  # None if it is not loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPlan:
    """Context that a model gets on this machine; ``fits`` tells whether it can be loaded so."""

    context: int
    fits: bool
    is_known: bool = True


def served_models(client: LocalrunClient) -> list[ServedModel]:
    """Return all models of the server by name.

    Raises:
        LocalrunError: the server does not answer.
    """
    loaded = {str(model.get("name")): model for model in client.running()}
    return [_served(model, loaded.get(str(model.get("name")))) for model in client.models()]


def find_served(models: Sequence[ServedModel], name: str) -> ServedModel:
    """Return the model of a name; a missing tag means ``latest``.

    Raises:
        ModelNotFoundError: the server does not have it.
    """
    wanted = {name.lower(), f"{name}{LATEST}".lower()}
    for model in models:
        if model.name.lower() in wanted:
            return model
    raise ModelNotFoundError(
        f"the server does not have the model {name[:100]}", hint=f"localrun pull {name[:100]}"
    )


class ContextPlanner:
    """Contexts of models by the plan of this machine; knows nothing about a server elsewhere."""

    def __init__(self, workspace: Workspace) -> None:
        settings = workspace.settings
        self._workspace = workspace
        self._is_here = settings.is_loopback
        device = check_choice(settings.device, workspace.environ)
        self._devices = ChosenDevices(device, workspace.environ, most_bytes=settings.memory_bytes)

    def plan(self, model: ServedModel, num_ctx: int | None = None) -> ContextPlan:
        """Return the context of a model by default, or whether ``num_ctx`` tokens fit."""
        if num_ctx is None and model.loaded_context is not None:
            return ContextPlan(context=model.loaded_context, fits=True)
        context = min(num_ctx or model.trained_context, model.trained_context or UNKNOWN_CONTEXT)
        if not self._is_here:
            return ContextPlan(context=context, fits=True, is_known=False)
        try:
            query = MemoryQuery(num_ctx=num_ctx)
            plan = plan_memory(self._workspace, model.name, query, self._devices).plan
        except LocalrunError:  # the load reports it
            return ContextPlan(context=context, fits=True, is_known=False)
        return ContextPlan(context=plan.num_ctx, fits=plan.fits)

    def role_model(self, model: ServedModel) -> RoleModel:
        """Return the model with the context that requests get."""
        plan = self.plan(model)
        return RoleModel(
            name=model.name.removesuffix(LATEST),
            context=plan.context,
            capabilities=model.capabilities,
            is_context_known=plan.is_known,
        )


def _served(model: JsonObject, loaded: JsonObject | None) -> ServedModel:
    details = model.get("details") or {}
    return ServedModel(
        name=str(model.get("name")),
        capabilities=tuple(map(str, model.get("capabilities") or ())),
        size_bytes=int(model.get("size") or 0),
        trained_context=int(details.get("context_length") or 0),
        loaded_context=None if loaded is None else int(loaded.get("context_length") or 0) or None,
    )
