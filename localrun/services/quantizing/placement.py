"""Devices on which a measured model computes: those that a load plan chooses, as for a chat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.engine.measuring.jobs import RunPlacement
from localrun.services.machine.devices import check_choice
from localrun.services.runner_models import runner_model
from localrun.supervisor.devices import ChosenDevices
from localrun.supervisor.planning import plan_load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace
    from localrun.supervisor.model import RunnerModel


class Placer:
    """Plans of one model and of files made from it; asks the devices once for each."""

    def __init__(
        self, workspace: Workspace, model: StoredModel, num_ctx: int, device: str | None = None
    ) -> None:
        """``device`` is the user's choice, None: that of the settings.

        Raises:
            UsageError: this machine has no such device.
        """
        settings, environ = workspace.settings, workspace.environ
        choice = check_choice(device or settings.device, environ)
        self._devices = ChosenDevices(choice, environ, most_bytes=settings.memory_bytes)
        self._rules = replace(settings.loads, num_parallel=1)
        self._order: RunnerModel = replace(runner_model(model), draft=(), num_ctx=None)
        self._num_ctx = num_ctx

    def place(self, shards: Sequence[Path] | None = None) -> RunPlacement:
        """Return the devices for the model, or for other weights of it."""
        order = self._order
        if shards is not None:
            order = replace(order, shards=tuple(shards), weights=(), array_ends=())
        load = plan_load(order, self._num_ctx, self._devices, rules=self._rules).load
        return RunPlacement(
            num_gpu_layers=load.num_gpu_layers,
            devices=load.options.devices,
            tensor_split=load.tensor_split,
            num_host_experts=load.num_host_experts,
        )
