"""Load plan over workers: layers that do not fit here are put on other machines.

    this machine's memory   embeddings, the first layers, and the output matrix
    workers                 the next layers
    this machine's GPUs     the last layers, and then the output matrix

Each worker costs one round trip for each token, so that as few layers as possible go to as few
workers as suffice, the largest first. The output stays here: the logits of a large vocabulary
would be most of what travels.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from localrun.hardware.placement import Split
from localrun.hardware.plan import Planner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan, PlanRequest
    from localrun.hardware.shape import ModelShape


def plan_with_workers(
    shape: ModelShape,
    request: PlanRequest,
    devices: Sequence[Device],
    workers: Sequence[Device],
) -> LoadPlan | None:
    """Return a plan that fits over this machine's devices and the workers', or None."""
    if not workers:
        return None
    planner = _WorkerPlanner(shape, request, devices)
    plan = next(planner.fitting_with(workers), None)
    return planner.explained(plan) if plan else None


class _WorkerPlanner(Planner):
    """The search for a plan of one request over workers."""

    def fitting_with(self, workers: Sequence[Device]) -> Iterator[LoadPlan]:
        """Yield plans that fit, those with the fewest workers first."""
        largest_first = sorted(workers, key=lambda worker: -worker.free_bytes)
        num_on_cards = functools.cache(self._layers_of_cards)
        for count in range(1, len(workers) + 1):
            chosen = tuple(largest_first[:count])
            for context in self._comfortable_contexts():
                plan = self._with_fewest_layers(context, chosen, num_on_cards(context))
                if plan is not None and self._is_modest(plan):
                    yield plan
            for context in self._base_contexts():
                plan = self._with_fewest_layers(context, chosen, num_on_cards(context))
                if plan is not None:
                    yield plan

    def _with_fewest_layers(
        self, context: int, workers: tuple[Device, ...], num_on_cards: int
    ) -> LoadPlan | None:
        """Return the plan with the fewest layers on workers that fits, or None."""
        low, high = 1, self._shape.num_layers
        while low < high:
            middle = (low + high) // 2
            if self._fits_here(self._plan_over(context, workers, middle, num_on_cards)):
                high = middle
            else:
                low = middle + 1
        plan = self._plan_over(context, workers, low, num_on_cards)
        return plan if plan.fits else None

    def _plan_over(
        self, context: int, workers: tuple[Device, ...], num_away: int, num_on_cards: int
    ) -> LoadPlan:
        cards = self._gpus if num_on_cards else ()
        num_on_cards = min(num_on_cards, self._shape.num_layers + 1 - num_away)
        away, here = self._spread(workers, num_away), self._spread(cards, num_on_cards)
        counts = dict(zip((*away.gpus, *here.gpus), (*away.counts, *here.counts), strict=True))
        split = Split(
            gpus=tuple(device for device, count in counts.items() if count),
            counts=tuple(count for count in counts.values() if count),
            keeps_output=not cards,
        )
        names = " and ".join(f"`{name}`" for name in split.workers)
        total = self._shape.num_layers + 1
        return self._plan(context, split, f"{num_away} of {total} layers only fit {names}")

    def _layers_of_cards(self, context: int) -> int:
        """Return how many layers, with the output, fit this machine's GPUs."""
        for count in range(self._shape.num_layers, 0, -1) if self._gpus else ():
            plan = self._plan(context, self._spread(self._gpus, count), "")
            if all(self._spare(share) >= 0 for share in plan.shares if share.device.is_gpu):
                return count
        return 0

    def _fits_here(self, plan: LoadPlan) -> bool:
        return all(self._spare(share) >= 0 for share in plan.shares if not share.device.worker)
