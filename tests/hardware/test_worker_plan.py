"""Which layers go to other machines; the model has 8 layers of 1000 MiB and an output."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.plan import LoadPlan, PlanRequest
from localrun.hardware.worker_plan import _WorkerPlanner, plan_with_workers
from tests.hardware.test_plan import DENSE, GIB, MIB, processor

if TYPE_CHECKING:
    import pytest


def worker(name: str, free: int, *, is_processor: bool = True) -> Device:
    return Device(
        backend="RPC", index=0, name=name, description="Far CPU", kind=DeviceKind.GPU,
        total_bytes=free, free_bytes=free, worker=name, is_processor=is_processor,
    )  # fmt: skip


def card(free: int) -> Device:
    return Device(
        backend="CUDA", index=0, name="CUDA0", description="", kind=DeviceKind.GPU,
        total_bytes=free, free_bytes=free,
    )  # fmt: skip


def planned(here: list[Device], workers: list[Device], extra_bytes: int = 0) -> LoadPlan:
    request = PlanRequest(num_ctx=4096, extra_bytes=extra_bytes)
    plan = plan_with_workers(DENSE, request, here, workers)
    assert plan is not None
    assert plan.fits
    return plan


def layers(plan: LoadPlan) -> dict[str, int]:
    return {share.device.name: share.num_layers for share in plan.shares}


def test_only_what_does_not_fit_here_goes_away() -> None:
    plan = planned([processor(7 * GIB)], [worker("big", 64 * GIB)])

    assert layers(plan) == {"big": 3, "CPU": 6}
    assert "3 of 9 layers only fit `big`" in plan.reason


def test_the_output_stays_here() -> None:
    plan = planned([processor(3 * GIB)], [worker("big", 64 * GIB)])
    (far, here) = plan.shares

    assert plan.split.keeps_output
    assert far.weight_bytes == far.num_layers * 1000 * MIB
    assert here.weight_bytes == (9 - 1 - far.num_layers) * 1000 * MIB + 1000 * MIB  # and the input


def test_the_fewest_workers_that_suffice_are_taken_the_largest_first() -> None:
    workers = [worker("small", 2 * GIB), worker("large", 6 * GIB), worker("middle", 4 * GIB)]

    assert planned([processor(7 * GIB)], workers).split.workers == ("large",)
    both = planned([processor(3 * GIB)], workers)
    assert both.split.workers == ("large", "middle")
    assert layers(both)["large"] > layers(both)["middle"]


def test_a_card_here_has_the_last_layers_and_the_output() -> None:
    here = [card(4 * GIB), processor(3 * GIB)]
    plan = planned(here, [worker("big", 64 * GIB)])

    assert not plan.split.keeps_output
    assert [share.device.name for share in plan.shares] == ["big", "CUDA0", "CPU"]
    assert plan.shares[1].weight_bytes == (layers(plan)["CUDA0"] - 1) * 1000 * MIB + 500 * MIB
    assert sum(layers(plan).values()) == 9


def test_adapters_and_draft_models_stay_here() -> None:
    without = planned([processor(4 * GIB)], [worker("big", 64 * GIB)])
    with_draft = planned([processor(4 * GIB)], [worker("big", 64 * GIB)], extra_bytes=900 * MIB)

    assert layers(with_draft)["big"] == layers(without)["big"] + 1
    assert with_draft.shares[0].weight_bytes % (1000 * MIB) == 0


def test_there_is_no_plan_if_all_of_them_are_too_small() -> None:
    request = PlanRequest(num_ctx=4096)
    few = [worker("a", 2 * GIB), worker("b", 2 * GIB)]

    assert plan_with_workers(DENSE, request, [processor(2 * GIB)], few) is None
    assert plan_with_workers(DENSE, request, [processor(GIB)], [worker("b", 99 * GIB)]) is None
    assert plan_with_workers(DENSE, request, [processor(2 * GIB)], []) is None


def test_the_cards_are_filled_once_for_each_context(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[int] = []
    count = _WorkerPlanner._layers_of_cards

    def counted(planner: _WorkerPlanner, context: int) -> int:
        contexts.append(context)
        return count(planner, context)

    monkeypatch.setattr(_WorkerPlanner, "_layers_of_cards", counted)
    few = [worker(name, GIB) for name in "abcd"]
    plan_with_workers(DENSE, PlanRequest(), [card(4 * GIB), processor(3 * GIB)], few)

    assert contexts
    assert len(contexts) == len(set(contexts))


def test_a_far_card_keeps_a_reserve_for_its_driver() -> None:
    size = 3500 * MIB  # three layers with cells and buffers, and 256 MiB, but not 512
    here = [processor(7 * GIB)]
    request = PlanRequest(num_ctx=4096)

    assert plan_with_workers(DENSE, request, here, [worker("w", size)]) is not None
    far_card = worker("w", size, is_processor=False)
    assert plan_with_workers(DENSE, request, here, [far_card]) is None


def test_an_open_context_is_as_long_as_is_comfortable() -> None:
    plan = plan_with_workers(DENSE, PlanRequest(), [processor(7 * GIB)], [worker("big", 64 * GIB)])

    assert plan is not None
    assert plan.num_ctx >= 8192


def test_a_smaller_share_of_the_memory_moves_more_layers() -> None:
    request = PlanRequest(num_ctx=4096)
    here, far = [processor(7 * GIB)], [worker("big", 64 * GIB)]
    tight = plan_with_workers(DENSE, replace(request, tightness=0.75), here, far)

    assert tight is not None
    assert layers(tight)["big"] > layers(planned(here, far))["big"]
